"""Sign-in by OpenID Connect: to the provider, back from it, and the page of a refusal."""

import re
from typing import Final

import structlog
from flask import Flask, abort, current_app, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from services.console.auth import Authenticator, TooManyAttemptsError
from services.console.endpoints import console
from services.console.i18n import language, mark, translate
from services.console.oidc_attempts import Attempt, Attempts
from services.console.oidc_provider import (
    ClientRefusedError,
    Person,
    Provider,
    ProviderUnavailableError,
    SignInRefusedError,
)
from services.console.redirects import local_path
from services.console.settings import ConsoleSettings

#: Why nobody was signed in: the page's status, its title and what it says.
REFUSALS: Final = {
    "group": (
        403,
        mark("No access to the console"),
        mark(
            "You have signed in, but none of your groups opens the console. An administrator of the sign-in service can"
            " add you to one."
        ),
    ),
    "invalid": (
        403,
        mark("The sign-in was refused"),
        mark(
            "The answer of the sign-in service is not valid. Sign in again; if that fails too, the console's log has"
            " the reason."
        ),
    ),
    "denied": (
        403,
        mark("The sign-in was cancelled"),
        mark("The sign-in service did not sign you in. Sign in again, or with a token."),
    ),
    "expired": (
        400,
        mark("The sign-in has expired"),
        mark("It was begun in another browser or more than ten minutes ago, or it has been used. Sign in again."),
    ),
    "busy": (
        429,
        mark("Too many failed sign-ins"),
        mark("Try again in a minute."),
    ),
    "unavailable": (
        503,
        mark("The sign-in service is unavailable"),
        mark("Sign in with a token, or try again in a minute."),
    ),
    "settings": (
        500,
        mark("The sign-in service does not accept this console"),
        mark(
            "A setting has to be corrected: the console's log has the reason, and nouba doctor checks the settings."
            " Until then, sign in with a token."
        ),
    ),
}
#: Errors of RFC 6749 and OpenID Connect that the person at the provider causes; and those that pass.
_DENIED = ("access_denied", "login_required", "interaction_required", "consent_required", "account_selection_required")
_PASSING = ("server_error", "temporarily_unavailable")
_ERROR = re.compile(r"[a-z_]{1,60}")

log = structlog.get_logger(__name__)

__all__ = ["console"]


class _RefusedError(Exception):
    """Nobody is signed in, for a reason of REFUSALS."""

    @property
    def reason(self) -> str:
        return str(self.args[0])


def add_oidc(app: Flask, settings: ConsoleSettings) -> None:
    """Give `app` the provider of the settings, where there is one."""
    found = settings.oidc
    app.extensions["oidc_provider"] = Provider(found) if found else None
    app.extensions["oidc_attempts"] = Attempts(is_https=settings.is_https)
    app.jinja_env.globals["provider_label"] = found.label if found else None


@console.get("/enter/oidc")
def begin_sign_in() -> ResponseReturnValue:
    to = local_path(request.args.get("to", ""))
    # another site must not open a session here: the provider may sign people in without a question
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return redirect(url_for("console.login_form", to=to))
    # `again` asks the provider for somebody else than who has a session there
    more = {"prompt": "login"} if request.args.get("again") else {}
    attempt = Attempt.begin(to)
    try:
        address = _provider().authorization_address(
            attempt.state, attempt.nonce, attempt.verifier, ui_locales=language(), **more
        )
    except ProviderUnavailableError as error:
        _note("unavailable", error)
        return _refusal("unavailable")
    # the callback cannot end it: a browser that comes from the provider does not send the session's cookie
    if session.get("id"):
        _authenticator().leave()
    answer = current_app.make_response(redirect(address))
    _attempts().keep(answer, attempt)
    return answer


@console.get("/enter/oidc/callback")
def finish_sign_in() -> ResponseReturnValue:
    _provider()
    attempt = _attempts().find(request.args.get("state", ""))
    if attempt is None:
        return _refusal("expired")
    try:
        person = _find_person(attempt)
        _authenticator().enter_by_provider(person)
        # a page of our own goes on: a browser that comes from another site sends no Strict cookie to a redirect
        to = local_path(attempt.to)
        answer = current_app.make_response(render_template("entered.html", to=to, here=to))
    except _RefusedError as error:
        answer = current_app.make_response(_refusal(error.reason))
    _attempts().end(answer, attempt)
    return answer


@console.get(f"/enter/refused/<any({','.join(REFUSALS)}):reason>")
def show_refusal(reason: str) -> ResponseReturnValue:
    _provider()
    status, title, message = REFUSALS[reason]
    page = render_template(
        "fault.html",
        title=translate(title),
        message=translate(message),
        enter=url_for("console.login_form"),
        as_another=url_for("console.begin_sign_in", again="yes") if reason == "group" else None,
    )
    return page, status


def _find_person(attempt: Attempt) -> Person:
    """Who has signed in, and may enter. Raises _RefusedError."""
    address = request.remote_addr or ""
    try:
        _authenticator().check_address(address)
        _provider().check_sender(request.args.get("iss"))
        if error := request.args.get("error"):
            raise _refused_by(error)
        if not (code := request.args.get("code")):
            raise SignInRefusedError("the answer has neither a code nor an error")
        person = _provider().redeem(code, attempt.verifier, attempt.nonce)
    except TooManyAttemptsError:
        raise _RefusedError("busy") from None
    except ProviderUnavailableError as error:
        raise _note("unavailable", error) from None
    except ClientRefusedError as error:
        # some providers answer so to a code that is malformed
        _authenticator().count_failure(address)
        raise _note("settings", error) from None
    except SignInRefusedError as error:
        _authenticator().count_failure(address)
        raise _note("invalid", error) from None
    if person.role is None:
        claim = _provider().settings.roles_claim
        log.warning("no group opens the console", credential=person.id, claim=claim, values=person.groups)
        raise _RefusedError("group")
    return person


def _refused_by(error: str) -> _RefusedError:
    known = error if _ERROR.fullmatch(error) else "unknown"
    reason = "denied" if known in _DENIED else "unavailable" if known in _PASSING else "settings"
    return _note(reason, f"the authorization endpoint answered {known}")


def _note(reason: str, error: object) -> _RefusedError:
    log.warning("sign-in by OpenID Connect failed", reason=str(error), client=request.remote_addr)
    return _RefusedError(reason)


def _refusal(reason: str) -> BaseResponse:
    # a page of its own: its links to other languages must not lead back to a code that is spent
    return redirect(url_for("console.show_refusal", reason=reason))


def _provider() -> Provider:
    found = current_app.extensions["oidc_provider"]
    if found is None:
        abort(404)
    assert isinstance(found, Provider)
    return found


def _attempts() -> Attempts:
    found = current_app.extensions["oidc_attempts"]
    assert isinstance(found, Attempts)
    return found


def _authenticator() -> Authenticator:
    found = current_app.extensions["authenticator"]
    assert isinstance(found, Authenticator)
    return found
