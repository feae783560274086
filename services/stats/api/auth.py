"""Access to the statistics API: open on this machine, with a token from elsewhere."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services.stats.api.errors import (
    ForbiddenScopeError,
    MalformedCredentialsError,
    MisdirectedError,
    NoTokenError,
    TooManyFailuresError,
)
from shared.runtime import api_tokens
from shared.runtime.api_tokens import Scope, TokenVerifier, bearer_of

#: What holds no numbers, and is asked by load balancers and tools.
OPEN = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
#: A browser cannot send a bearer token by itself; it asks for a password, which is the token.
CHALLENGE = 'Bearer realm="nouba", Basic realm="nouba", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class ReadAccess:
    """Checks host and token of a request, given as its WSGI environ.

    `hosts` are the names that readers may call this API by; empty allows every name. Without tokens the names are what
    keeps a page of another site, which has its name point to this machine, from reading through a browser.
    """

    verifier: TokenVerifier
    hosts: frozenset[str]
    client_of: Callable[[Mapping[str, Any]], str]

    def permits(self, environ: Mapping[str, Any]) -> bool:
        """Whether the request may read; counts nothing."""
        if not self._is_host_allowed(environ):
            return False
        if not self.verifier:
            return True
        try:
            shown = _shown(environ.get("HTTP_AUTHORIZATION", ""))
        except MalformedCredentialsError:
            return False
        return self.verifier.find(shown, Scope.READ, self.client_of(environ)) is not None

    def require(self, environ: Mapping[str, Any]) -> None:
        """Raises the ReaderError that says why the request may not read."""
        if not self._is_host_allowed(environ):
            raise MisdirectedError
        if not self.verifier:
            return
        try:
            self.verifier.verify(_shown(environ.get("HTTP_AUTHORIZATION", "")), Scope.READ, self.client_of(environ))
        except api_tokens.InvalidTokenError:
            raise NoTokenError from None
        except api_tokens.InsufficientScopeError as error:
            raise ForbiddenScopeError(str(error)) from None
        except api_tokens.TooManyFailuresError:
            raise TooManyFailuresError from None

    def _is_host_allowed(self, environ: Mapping[str, Any]) -> bool:
        if not self.hosts or "HTTP_HOST" not in environ:
            return True
        return host_name(environ["HTTP_HOST"]) in self.hosts


def host_name(host: str) -> str:
    """The name of a Host header, without its port and without the brackets of an IPv6 address."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]


def _shown(authorization: str) -> bytes:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return bearer_of(authorization)
    try:
        # of characters beyond ASCII it raises ValueError
        return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        raise MalformedCredentialsError from None
