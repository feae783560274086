"""Authenticates the school's back end: bearer token and JSON body."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from services.webhook_gateway import errors
from services.webhook_gateway.http.request_body import BodyReader
from shared.runtime import api_tokens
from shared.runtime.api_tokens import ApiToken, Scope, TokenVerifier, bearer_of

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Authorizer:
    """Checks the bearer token of the current request."""

    verifier: TokenVerifier
    client_of: Callable[[Mapping[str, Any]], str]

    def require(self, scope: Scope) -> ApiToken:
        """The request's token, which opens `scope`. Raises Unauthorised, ForbiddenScope or TooManyFailures."""
        shown = bearer_of(request.headers.get("Authorization", ""))
        try:
            return self.verifier.verify(shown, scope, self.client_of(request.environ))
        except api_tokens.InvalidTokenError:
            raise errors.UnauthorisedError from None
        except api_tokens.InsufficientScopeError as error:
            raise errors.ForbiddenScopeError(str(error)) from None
        except api_tokens.TooManyFailuresError:
            raise errors.TooManyFailuresError from None


def read_json(kind: type[M], bodies: BodyReader, fault: type[errors.ClientError]) -> M:
    """The request's body. Raises `fault` with the fields that are wrong, but never with what they hold."""
    try:
        return kind.model_validate_json(bodies.read(request.environ))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise fault(
            "; ".join(f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}" for one in faults)
        ) from None
