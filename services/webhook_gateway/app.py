"""The gateway's web process: puts settings, providers, inbox and routes together."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask
from sqlalchemy import Engine

from services.webhook_gateway.http.fast_path import WebhookFastPath
from services.webhook_gateway.http.rate_limit import UnverifiedRateLimit, client_address
from services.webhook_gateway.http.readiness import Readiness, check
from services.webhook_gateway.http.receive import Gateway
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.http.routes import gateway
from services.webhook_gateway.inbox.accept import Inbox
from services.webhook_gateway.inbox.known_orders import is_registered
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Provider
from services.webhook_gateway.school_api.keys.postgres import PostgresKeys
from services.webhook_gateway.school_api.keys.routes import KeyDesk, keys
from services.webhook_gateway.school_api.payments.routes import Payments, payments
from services.webhook_gateway.school_api.playback.playback import Signer
from services.webhook_gateway.school_api.playback.postgres import PostgresLessons
from services.webhook_gateway.school_api.playback.routes import Playback, playback
from services.webhook_gateway.school_api.postgres_courses import PostgresCourses
from services.webhook_gateway.school_api.uploads.routes import Uploads, uploads
from services.webhook_gateway.school_api.uploads.uploads import Objects
from services.webhook_gateway.school_api.videos.postgres import PostgresVideos
from services.webhook_gateway.school_api.videos.routes import CAPTIONS_SECONDS, LONGEST_CAPTIONS_BYTES, Videos, videos
from services.webhook_gateway.settings import GatewaySettings
from services.webhook_gateway.settlement.postgres import open_store
from shared.runtime.playback_links import split_secrets


def create_app(
    settings: GatewaySettings,
    providers: Mapping[str, Provider],
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
        providers=providers,
        inbox=inbox or PostgresInbox(engine),
        readiness=readiness or partial(check, engine),
        bodies=BodyReader(settings.gateway_body_bytes, settings.gateway_body_seconds),
        unverified=UnverifiedRateLimit(
            settings.gateway_unverified_per_second,
            settings.gateway_hints_per_second,
            partial(is_registered, engine),
        ),
        wake=wake,
        return_urls=return_urls,
        client_of=client_address(settings.gateway_proxies),
        payments_mode=settings.payments_mode,
    )
    app.register_blueprint(gateway)
    app.wsgi_app = WebhookFastPath(app.wsgi_app, app.extensions["gateway"])  # type: ignore[method-assign]
    app.extensions["uploads"] = Uploads(
        tokens=tuple(token.encode() for token in settings.tokens),
        objects=objects,
        courses=PostgresCourses(engine, wake),
        bodies=app.extensions["gateway"].bodies,
    )
    app.register_blueprint(uploads)
    app.extensions["payments"] = Payments(
        tokens=app.extensions["uploads"].tokens,
        providers=providers,
        books=partial(open_store, engine, settings.subscription_period),
        currency=settings.currency,
        bodies=app.extensions["gateway"].bodies,
    )
    app.register_blueprint(payments)
    app.extensions["keys"] = KeyDesk(app.extensions["uploads"].tokens, PostgresKeys(engine))
    app.register_blueprint(keys)
    _register_lessons(app, settings, engine)
    return app


def _register_lessons(app: Flask, settings: GatewaySettings, engine: Engine) -> None:
    """What the school does with a lesson: let a viewer play it, follow, cancel, retry, delete and caption it."""
    tokens = tuple(token.encode() for token in settings.tokens)
    app.extensions["playback"] = Playback(
        tokens=tokens,
        signer=Signer(settings.playback_url, split_secrets(settings.playback_secrets)),
        lessons=PostgresLessons(engine),
    )
    app.register_blueprint(playback)
    app.extensions["videos"] = Videos(
        tokens, PostgresVideos(engine), BodyReader(LONGEST_CAPTIONS_BYTES, CAPTIONS_SECONDS)
    )
    app.register_blueprint(videos)
