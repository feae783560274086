"""Access to the statistics API: open on this machine, with a token from elsewhere."""

import base64
import binascii
import hmac

from services.stats.api.errors import NoTokenError

#: What holds no numbers, and is asked by load balancers and tools.
OPEN = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
#: A browser cannot send a bearer token by itself; it asks for a password, which is the token.
CHALLENGE = 'Bearer realm="nouba", Basic realm="nouba", charset="UTF-8"'


def require_token(tokens: tuple[bytes, ...], authorization: str) -> None:
    """Raises NoToken unless `authorization` holds one of `tokens`, or none is asked for."""
    if not tokens:
        return
    shown = _shown(authorization)
    # each comparison takes the same time, whatever was shown
    if not any(hmac.compare_digest(shown, token) for token in tokens):
        raise NoTokenError


def _shown(authorization: str) -> bytes:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
