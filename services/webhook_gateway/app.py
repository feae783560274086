"""The gateway's web process: puts settings, providers, inbox and routes together."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask
from sqlalchemy import Engine

from services.webhook_gateway.body import BodyReader
from services.webhook_gateway.hot import HotWebhooks
from services.webhook_gateway.inbox import SqlInbox
from services.webhook_gateway.intake import Inbox
from services.webhook_gateway.payments.sql_books import open_books
from services.webhook_gateway.psps.base import Psp
from services.webhook_gateway.readiness import Readiness, check
from services.webhook_gateway.reception import Gateway
from services.webhook_gateway.routes import gateway
from services.webhook_gateway.school.courses import SqlCourses
from services.webhook_gateway.school.key_routes import KeyDesk, keys
from services.webhook_gateway.school.keys import SqlKeys
from services.webhook_gateway.school.payment_routes import Payments, payments
from services.webhook_gateway.school.upload_routes import Uploads, uploads
from services.webhook_gateway.school.uploads import Objects
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.unverified import UnverifiedLimit


def create_app(
    settings: GatewaySettings,
    psps: Mapping[str, Psp],
    engine: Engine,
    wake: Callable[[], None],
    return_urls: Mapping[str, str],
    objects: Objects | None = None,
    inbox: Inbox | None = None,
    readiness: Callable[[], Readiness] | None = None,
) -> Flask:
    """The WSGI application. `engine` has to commit by itself; `wake` is called when a message was promised.

    `return_urls` is where a payer's browser goes from a provider's address, by the provider's name there.
    Without `objects` no uploads are taken; `inbox` and `readiness` are those of the database alone, unless given.
    """
    app = Flask(__package__ or "gateway", static_folder=None)
    app.url_map.strict_slashes = False
    # no provider follows a redirect
    app.url_map.merge_slashes = False
    app.extensions["gateway"] = Gateway(
        psps=psps,
        inbox=inbox or SqlInbox(engine),
        readiness=readiness or partial(check, engine),
        bodies=BodyReader(settings.gateway_body_bytes, settings.gateway_body_seconds),
        unverified=UnverifiedLimit(settings.gateway_unverified_per_second, settings.gateway_hints_per_second),
        wake=wake,
        return_urls=return_urls,
    )
    app.register_blueprint(gateway)
    app.wsgi_app = HotWebhooks(app.wsgi_app, app.extensions["gateway"])  # type: ignore[method-assign]
    app.extensions["uploads"] = Uploads(
        tokens=tuple(token.encode() for token in settings.tokens),
        objects=objects,
        courses=SqlCourses(engine, wake),
        bodies=app.extensions["gateway"].bodies,
    )
    app.register_blueprint(uploads)
    app.extensions["payments"] = Payments(
        tokens=app.extensions["uploads"].tokens,
        psps=psps,
        books=partial(open_books, engine, settings.subscription_period),
        currency=settings.currency,
        bodies=app.extensions["gateway"].bodies,
    )
    app.register_blueprint(payments)
    app.extensions["keys"] = KeyDesk(app.extensions["uploads"].tokens, SqlKeys(engine))
    app.register_blueprint(keys)
    return app
