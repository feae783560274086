"""Builds the console's WSGI application: headers, sessions and error pages."""

from typing import Any

from flask import Blueprint, Flask, Response, abort, g, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, SQLAlchemyError
from werkzeug.datastructures import ImmutableMultiDict, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from services.console.auth import guard
from services.console.i18n import add_languages, mark, translate
from services.console.oidc_routes import add_oidc, console
from services.console.playback_links import PlaybackLinks
from services.console.read_routes import ConsoleContext
from services.console.sessions import FILES, Sessions
from services.console.settings import ConsoleSettings
from services.console.template_filters import add_filters
from shared import player
from shared.runtime.database import build_engine
from shared.runtime.health import healthy
from shared.runtime.hsts import with_hsts
from shared.runtime.playback_links import split_secrets
from shared.runtime.visible_text import is_plain, without_directions

#: Nothing but the console's own files is loaded, and no other site frames it or takes its forms.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: A lesson's page also loads films and stills of playback; the player gives films to the browser as a blob.
PLAYER_POLICY = (
    POLICY.replace("img-src 'self'", "img-src 'self' {origin}").replace(
        "connect-src 'self'", "connect-src 'self' {origin}"
    )
    + "; media-src blob: {origin}"
)
#: What werkzeug calls the errors that a visitor can cause, and what is said about those that no route explains.
_NAMES = (
    *(mark("Bad Request"), mark("Forbidden"), mark("Not Found"), mark("Method Not Allowed")),
    *(mark("Request Entity Too Large"), mark("Internal Server Error")),
)
_MESSAGES = {
    400: mark("The browser sent a malformed request."),
    404: mark("There is no such page."),
    405: mark("This address does not accept that method."),
    413: mark("The form is too large."),
    500: mark("Internal error; see the console's log."),
}
LARGEST_FORM_BYTES = 256 * 1024


def create_app(settings: ConsoleSettings) -> Flask:
    """The WSGI application; call it after the fork."""
    app = Flask(__name__, static_folder="static", template_folder="templates")
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_FORM_BYTES
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    engine = build_engine(
        settings.database_url.get_secret_value(),
        pool_size=4,
        application="nouba console",
        statement_timeout_ms=20_000,
    )
    app.extensions["console_context"] = ConsoleContext(
        engine,
        settings.rabbitmq_url.get_secret_value(),
        settings.rabbitmq_management_url,
        settings.currency,
        settings.zone,
        PlaybackLinks(settings.playback_url, split_secrets(settings.playback_secrets)),
    )
    guard(app, settings, Sessions(engine))
    add_oidc(app, settings)
    add_filters(app, settings.zone)
    add_languages(app, is_https=settings.is_https)
    app.before_request(_check_texts)
    app.register_blueprint(console)
    app.register_blueprint(Blueprint("player", __name__, static_folder=str(player.FOLDER), static_url_path="/player"))
    app.add_url_rule("/healthz", "healthz", healthy)
    app.after_request(_harden)
    app.register_error_handler(CSRFError, _explain_form)
    app.register_error_handler(HTTPException, _explain)
    app.register_error_handler(DataError, _refuse_value)
    app.register_error_handler(SQLAlchemyError, _excuse)
    app.wsgi_app = with_hsts(app.wsgi_app, settings.is_https)  # type: ignore[method-assign]
    if settings.console_proxies:
        # the address is the outermost proxy's word, the scheme the nearest's: most overwrite it, and do not add to it
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=settings.console_proxies, x_proto=1)  # type: ignore[method-assign]
    return app


def _check_texts() -> None:
    """PostgreSQL keeps no NUL, and a header no line break; a change of direction would turn the audit log around.

    What is searched for is stored nowhere, and often copied: there changes of direction are left out.
    """
    request.args = _without_directions(request.args)
    if request.endpoint == "console.search_payments":
        request.form = _without_directions(request.form)
    for fields in (request.args, request.form):
        for name, values in fields.lists():
            # a tab comes with what is copied from a table
            if not all(is_plain(text.replace("\t", " ")) for text in (name, *values)):
                abort(
                    400,
                    translate("A field holds a control or direction character; remove it, and send the form again."),
                )


def _without_directions(fields: MultiDict[str, str]) -> ImmutableMultiDict[str, str]:
    return ImmutableMultiDict((name, without_directions(text)) for name, text in fields.items(multi=True))


def _harden(answer: Response) -> Response:
    origin = g.get("media_origin")
    answer.headers.update(
        {
            "Content-Security-Policy": PLAYER_POLICY.format(origin=origin) if origin else POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            # not "no-referrer": by HTTPS a form is taken only with the page that it stands on
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
    )
    if request.endpoint not in FILES:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def _explain(error: HTTPException) -> ResponseReturnValue:
    code, message = error.code or 500, error.description or ""
    if error.description == type(error).description:
        message = translate(_MESSAGES[code]) if code in _MESSAGES else message
    return _fault(code, translate(error.name) if error.name in _NAMES else error.name, message)


def _explain_form(error: CSRFError) -> ResponseReturnValue:
    if "referrer" in (error.description or ""):
        return _fault(
            400,
            translate("Invalid form"),
            translate("The browser must send a Referer, and a proxy must pass on the Host that the browser requested."),
        )
    return _fault(400, translate("The form has expired"), translate("Load its page again, and repeat what you did."))


def _refuse_value(_error: DataError) -> ResponseReturnValue:
    return _fault(
        400,
        translate("A value is out of range"),
        translate("A field holds a value that the database cannot store: correct it."),
    )


def _excuse(error: SQLAlchemyError) -> ResponseReturnValue:
    from flask import current_app

    current_app.logger.warning("the console cannot read the database: %s", type(error).__name__)
    return _fault(
        503,
        translate("The database is unavailable"),
        translate("Webhooks are still accepted. This page works again when the database is back."),
    )


def _fault(status: int, title: str, message: str) -> tuple[str, int, dict[str, Any]]:
    g.setdefault("visitor", None)
    headers = {"Retry-After": "5"} if status == 503 else {}
    return render_template("fault.html", title=title, message=message), status, headers
