"""Console sign-in: a token opens the session of a viewer or an operator."""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, abort, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.console.settings import ConsoleSettings

SESSION_HOURS = 12
#: Wrong tokens a minute and address: who tries them must not lock out the others. Behind a proxy that needs
#: NOUBA_CONSOLE_PROXIES, since all have the proxy's address otherwise.
WRONG_TOKENS_PER_MINUTE = 20
_NAME = re.compile(r"[\w .@+-]{1,64}")

P = ParamSpec("P")
R = TypeVar("R")


class Role(StrEnum):
    """What a visitor may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class TooManyAttemptsError(Exception):
    """Somebody tries tokens; wait a minute."""


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Who has entered. The name is what the visitor said: the token proves the role, the audit keeps both."""

    name: str
    role: Role

    @property
    def may_decide(self) -> bool:
        return self.role is Role.OPERATOR


class Authenticator:
    """Compares tokens in constant time, and lets nobody try for long."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._tokens = [(token, Role.OPERATOR) for token in settings.operator_tokens]
        self._tokens += [(token, Role.VIEWER) for token in settings.viewer_tokens]
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(WRONG_TOKENS_PER_MINUTE)

    def role_of(self, token: str, address: str) -> Role | None:
        """What `token` opens, None for one that opens nothing. Raises TooManyTries where `address` tries for long."""
        if not self._limiter.test(self._limit, address):
            raise TooManyAttemptsError
        shown = token.strip().encode()
        # every one is compared, whatever was shown
        found = [role for known, role in self._tokens if hmac.compare_digest(shown, known)]
        if not found:
            self._limiter.hit(self._limit, address)
            return None
        return found[0]


def guard(app: Flask, settings: ConsoleSettings) -> None:
    """Give `app` sessions that end when the tokens change, and let no form of another site act here."""
    # made of the tokens: it survives a restart, several processes share it, and a withdrawn token closes all sessions
    material = b"\0".join([*settings.operator_tokens, b"", *settings.viewer_tokens])
    # slow, because everybody gets a cookie and could try tokens against its signature
    secret = hashlib.scrypt(material, salt=b"nouba console", n=2**14, r=8, p=1)
    app.config.update(
        SECRET_KEY=secret,
        SESSION_COOKIE_NAME="nouba_console",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=settings.console_https,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=SESSION_HOURS),
        WTF_CSRF_TIME_LIMIT=SESSION_HOURS * 3600,
        WTF_CSRF_SSL_STRICT=settings.console_https,
    )
    CSRFProtect(app)
    app.extensions["doorkeeper"] = Authenticator(settings)

    @app.before_request
    def recognise() -> None:
        name, role = session.get("name"), session.get("role")
        # from the entry, not from the last page: pages renew themselves
        is_over = time.time() - session.get("entered", 0.0) > SESSION_HOURS * 3600
        g.visitor = CurrentUser(name, Role(role)) if name and role and not is_over else None


def enter(name: str, role: Role) -> None:
    """Open a session."""
    session.clear()
    session.permanent = True
    session["name"], session["role"], session["entered"] = name, role.value, time.time()


def clean_name(name: str) -> str | None:
    """The name as it is kept, None where it is none."""
    name = " ".join(name.split())
    return name if _NAME.fullmatch(name) else None


def for_visitors(page: Callable[P, R]) -> Callable[P, R | ResponseReturnValue]:
    """A page for everybody who has entered; others are asked for a token."""

    @wraps(page)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | ResponseReturnValue:
        if g.visitor is None:
            return redirect(url_for("console.show_door", to=request.full_path if request.method == "GET" else None))
        return page(*args, **kwargs)

    return guarded


def for_operators(deed: Callable[P, R]) -> Callable[P, R | ResponseReturnValue]:
    """A deed for operators; a viewer is refused with 403."""

    @wraps(deed)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | ResponseReturnValue:
        if not g.visitor.may_decide:
            abort(403, "You have entered as a viewer. Leave, and enter with an operator's token.")
        return deed(*args, **kwargs)

    return for_visitors(guarded)
