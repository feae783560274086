"""Authenticates the school's back end by its bearer token, and limits how often a token asks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import g, request

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import VERSION_1
from services.webhook_gateway.api.token_rate import TokenRate
from shared.operations import audit_log
from shared.runtime import api_tokens
from shared.runtime.api_tokens import ApiToken, Scope, TokenVerifier, bearer_of


def forget_credential() -> None:
    """Before each request: its thread has the credential of an earlier one."""
    audit_log.acting_credential.set(None)


@dataclass(frozen=True, slots=True)
class Authorizer:
    """Checks the bearer token of the current request, and counts those of version 1."""

    verifier: TokenVerifier
    client_of: Callable[[Mapping[str, Any]], str]
    rate: TokenRate

    def require(self, scope: Scope) -> ApiToken:
        """The request's token, which opens `scope`.

        Raises UnauthorisedError, ForbiddenScopeError, TooManyFailuresError or TooManyRequestsError.
        """
        shown = bearer_of(request.headers.get("Authorization", ""))
        try:
            token = self.verifier.verify(shown, scope, self.client_of(request.environ))
        except api_tokens.InvalidTokenError:
            raise errors.UnauthorisedError from None
        except api_tokens.InsufficientScopeError as error:
            raise errors.ForbiddenScopeError(str(error)) from None
        except api_tokens.TooManyFailuresError:
            raise errors.TooManyFailuresError from None
        g.token_name = token.name
        audit_log.acting_credential.set(token.id)
        if request.path.startswith(VERSION_1):
            g.rate_headers = self.rate.count(token.id)
        return token
