"""A sign-in by OpenID Connect that has begun, kept in a short-lived signed cookie of the browser that began it.

The session's cookie is `SameSite=Strict`, so a browser that comes from the provider does not send it. This cookie is
`Lax`, has the state in its name, so that two tabs do not disturb each other, and is removed when the provider answers.
No process and no table holds an attempt: any process may finish it, and a stranger's attempts fill nothing.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import astuple, dataclass

from flask import Response, current_app, request
from itsdangerous import BadData, URLSafeTimedSerializer

#: How long somebody may take at the provider.
ATTEMPT_SECONDS = 600
#: A browser has so many at once: further ones remove the others, which would fill the request's header.
MAX_ATTEMPTS = 5
#: Other characters take several bytes: five cookies would be longer than the header may be.
_MAX_ASCII_PATH = 500
_STATE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the provider's answer has to match, and the page that was asked for."""

    state: str
    nonce: str
    verifier: str
    to: str

    @classmethod
    def begin(cls, to: str) -> "Attempt":
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, to if to.isascii() and len(to) <= _MAX_ASCII_PATH else "")


class Attempts:
    """The attempts of the browser of this request."""

    def __init__(self, *, is_https: bool) -> None:
        self._is_https = is_https
        # with the prefix no other host, and no page without TLS, can plant one
        self._prefix = "__Host-nouba_sign_in_" if is_https else "nouba_sign_in_"

    def keep(self, answer: Response, attempt: Attempt) -> None:
        """Have `answer` set the attempt's cookie."""
        others = [name for name in request.cookies if name.startswith(self._prefix)]
        for name in others if len(others) >= MAX_ATTEMPTS else ():
            self._remove(answer, name)
        answer.set_cookie(
            self._name(attempt.state),
            _serializer().dumps(astuple(attempt)),
            max_age=ATTEMPT_SECONDS,
            secure=self._is_https,
            httponly=True,
            samesite="Lax",
        )

    def find(self, state: str) -> Attempt | None:
        """The attempt that this browser began with `state`; None for another's, and where its time is over."""
        if not _STATE.fullmatch(state):
            return None
        try:
            found = Attempt(*_serializer().loads(request.cookies.get(self._name(state), ""), max_age=ATTEMPT_SECONDS))
        except BadData:
            return None
        return found if hmac.compare_digest(found.state, state) else None

    def end(self, answer: Response, attempt: Attempt) -> None:
        """Have `answer` remove the cookie."""
        self._remove(answer, self._name(attempt.state))

    def _name(self, state: str) -> str:
        return f"{self._prefix}{state[:8]}"

    def _remove(self, answer: Response, name: str) -> None:
        answer.delete_cookie(name, secure=self._is_https, httponly=True, samesite="Lax")


def _serializer() -> URLSafeTimedSerializer:
    # the key changes with the settings, so that no attempt outlives them
    return URLSafeTimedSerializer(
        current_app.secret_key or "",
        salt="nouba console sign-in",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )
