"""Console sign-in: a token or an identity provider opens the session of one person, a viewer or an operator."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
from flask import Flask, abort, g, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFProtect
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from services.console.credentials import Credential, Role, match
from services.console.i18n import translate
from services.console.oidc_provider import Person
from services.console.sessions import OPEN, SESSION_HOURS, Session, Sessions
from services.console.settings import ConsoleSettings
from shared.operations.audit_log import acting_credential

#: Wrong tokens a minute and address: who tries them must not lock out the others. Behind a proxy that needs
#: NOUBA_CONSOLE_PROXIES, since all have the proxy's address otherwise.
WRONG_TOKENS_PER_MINUTE = 20

log = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class TooManyAttemptsError(Exception):
    """Somebody tries tokens or codes; wait a minute."""


@dataclass(frozen=True, slots=True)
class CurrentUser:
    """Who has entered, by the credential or the identity provider that opened the session."""

    name: str
    role: Role
    #: What the audit log keeps beside the name.
    credential: str
    by_provider: bool = False

    @property
    def may_decide(self) -> bool:
        return self.role is Role.OPERATOR


class Authenticator:
    """Finds the credential of a token, limits failed sign-ins, and opens and ends sessions."""

    def __init__(self, settings: ConsoleSettings, sessions: Sessions) -> None:
        self._credentials = {credential.id: credential for credential in settings.credentials}
        self._has_provider = settings.oidc is not None
        self._sessions = sessions
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(WRONG_TOKENS_PER_MINUTE)

    def credential_of(self, token: str, address: str) -> Credential | None:
        """The credential of `token`, None for a wrong one.

        Raises TooManyAttemptsError where `address` tries for long.
        """
        self.check_address(address)
        found = match(token, tuple(self._credentials.values()))
        if found is None:
            self.count_failure(address)
            log.warning("wrong token at the console", client=address)
        return found

    def check_address(self, address: str) -> None:
        """Raises TooManyAttemptsError where `address` has failed too often in a minute."""
        if not self._limiter.test(self._limit, address):
            raise TooManyAttemptsError

    def count_failure(self, address: str) -> None:
        self._limiter.hit(self._limit, address)

    def enter(self, credential: Credential) -> None:
        """Open a session in this browser."""
        self._open(credential.name, credential.id)
        log.info("entered the console", credential=credential.id, role=credential.role)

    def enter_by_provider(self, person: Person) -> None:
        """Likewise for whom the identity provider has named; the session keeps the role, and ends as others do."""
        assert person.role is not None
        self._open(person.name, person.id, person.role)
        log.info("entered the console", credential=person.id, role=person.role)

    def _open(self, name: str, credential: str, role: Role | None = None) -> None:
        self.leave()
        session.permanent = True
        session["id"] = self._sessions.open(name, credential, role)

    def leave(self) -> None:
        """End this browser's session, so that a copy of its cookie opens nothing either."""
        if session_id := session.get("id"):
            self._sessions.close(session_id)
        session.clear()

    def recognise(self) -> CurrentUser | None:
        """The user of a credential that is still valid; the audit log keeps the credential of each action."""
        session_id = session.get("id")
        found = self._sessions.find(session_id) if session_id else None
        user = self._user_of(found) if found else None
        acting_credential.set(user.credential if user else None)
        return user

    def _user_of(self, found: Session) -> CurrentUser | None:
        if found.role is not None:
            # a change of the provider's settings changes the key of all cookies
            user = CurrentUser(found.name, Role(found.role), found.credential, by_provider=True)
            return user if self._has_provider else None
        credential = self._credentials.get(found.credential)
        return CurrentUser(credential.name, credential.role, credential.id) if credential else None


def guard(app: Flask, settings: ConsoleSettings, sessions: Sessions) -> None:
    """Give `app` sessions that end when the tokens or the provider change, and let no form of another site act here."""
    # made of the tokens and the provider's settings: it survives a restart, several processes share it, and a withdrawn
    # token or another setting closes all sessions
    material = b"\0".join(credential.role.encode() + credential.digest for credential in settings.credentials)
    if oidc := settings.oidc:
        material += b"\0oidc" + oidc.fingerprint
    # slow, because everybody gets a cookie and could try tokens against its signature
    secret = hashlib.scrypt(material, salt=b"nouba console", n=2**14, r=8, p=1)
    app.config.update(
        SECRET_KEY=secret,
        # with the prefix a browser takes it by HTTPS alone, and of no other host
        SESSION_COOKIE_NAME="__Host-nouba_console" if settings.is_https else "nouba_console",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        SESSION_COOKIE_SECURE=settings.is_https,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=SESSION_HOURS),
        WTF_CSRF_TIME_LIMIT=SESSION_HOURS * 3600,
        WTF_CSRF_SSL_STRICT=settings.is_https,
    )
    CSRFProtect(app)
    authenticator = Authenticator(settings, sessions)
    app.extensions["authenticator"] = authenticator

    @app.before_request
    def recognise() -> None:
        g.visitor = None
        acting_credential.set(None)
        if request.endpoint not in OPEN:
            g.visitor = authenticator.recognise()


def for_visitors(page: Callable[P, R]) -> Callable[P, R | ResponseReturnValue]:
    """A page for everybody who has entered; others are redirected to the sign-in page."""

    @wraps(page)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | ResponseReturnValue:
        if g.visitor is None:
            return redirect(url_for("console.login_form", to=request.full_path if request.method == "GET" else None))
        return page(*args, **kwargs)

    return guarded


def for_operators(action: Callable[P, R]) -> Callable[P, R | ResponseReturnValue]:
    """An action of operators; a viewer is refused with 403."""

    @wraps(action)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | ResponseReturnValue:
        if not g.visitor.may_decide:
            abort(403, translate("You are signed in as a viewer. Sign out, then sign in with an operator's token."))
        return action(*args, **kwargs)

    return for_visitors(guarded)
