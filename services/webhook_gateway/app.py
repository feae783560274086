"""Builds the gateway's WSGI application: providers, inbox and routes."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask
from sqlalchemy import Engine

from services.webhook_gateway.api.idempotency import PostgresIdempotencyKeys
from services.webhook_gateway.api.operations import Api
from services.webhook_gateway.api.token_rate import TokenRate
from services.webhook_gateway.api_docs import register
from services.webhook_gateway.http.fast_path import WebhookFastPath
from services.webhook_gateway.http.readiness import Readiness, check
from services.webhook_gateway.http.receive import Gateway
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.http.unverified_rate_limit import UnverifiedRateLimit
from services.webhook_gateway.inbox.accept import Inbox
from services.webhook_gateway.inbox.known_orders import is_registered
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import Provider
from services.webhook_gateway.school_api.auth import Authorizer, forget_credential
from services.webhook_gateway.school_api.checkouts.checkouts import ReturnUrls
from services.webhook_gateway.school_api.checkouts.postgres import PostgresCheckouts
from services.webhook_gateway.school_api.checkouts.routes import CheckoutApi
from services.webhook_gateway.school_api.content_keys.postgres import PostgresKeys
from services.webhook_gateway.school_api.content_keys.routes import KeyDelivery
from services.webhook_gateway.school_api.course_video.postgres import PostgresVideos
from services.webhook_gateway.school_api.course_video.routes import CAPTIONS_SECONDS, MAX_CAPTIONS_BYTES, Videos
from services.webhook_gateway.school_api.payments.read_routes import Reading
from services.webhook_gateway.school_api.payments.register_route import Payments
from services.webhook_gateway.school_api.playback.playback import Signer
from services.webhook_gateway.school_api.playback.postgres import PostgresLessons
from services.webhook_gateway.school_api.playback.routes import Playback
from services.webhook_gateway.school_api.uploads.postgres_courses import PostgresCourses
from services.webhook_gateway.school_api.uploads.routes import Uploads
from services.webhook_gateway.school_api.uploads.uploads import Objects
from services.webhook_gateway.settings import GatewaySettings, Serves
from services.webhook_gateway.settlement.postgres import open_store
from shared.contracts.routes import route_of
from shared.contracts.videos import TranscodeVideo
from shared.contracts.webhooks import WebhooksReceived
from shared.operations.api_tokens.tokens import StoredTokens
from shared.operations.webhook_endpoints.endpoints import Endpoints
from shared.runtime.api_tokens import TokenVerifier
from shared.runtime.client_address import client_address
from shared.runtime.hsts import with_hsts
from shared.runtime.playback_links import split_secrets


def create_app(
    settings: GatewaySettings,
    providers: Mapping[str, Provider],
    engine: Engine,
    wake: Callable[[str], None],
    return_urls: Mapping[str, str],
    objects: Objects | None = None,
    inbox: Inbox | None = None,
    readiness: Callable[[], Readiness] | None = None,
    is_database_unavailable: Callable[[], bool] = lambda: False,
    school_engine: Engine | None = None,
) -> Flask:
    """The WSGI application. `engine` has to commit by itself; `wake` is called with
    the queue of a message that was enqueued.

    `engine` serves strangers; the routes that ask for a token use `school_engine`, unless it is None.

    `return_urls` is where a payer's browser goes from a provider's address, by the provider's name there.
    Without `objects` no uploads are taken; `inbox` and `readiness` are those of the database alone, unless given.
    While the database is unavailable, a hint waits for no answer of it.
    """
    app = Flask(__package__ or "gateway", static_folder=None)
    serves = settings.gateway_serves
    register(app, has_school_api=serves is not Serves.WEBHOOKS)
    app.extensions["gateway"] = Gateway(
        # an address without a provider is answered 404
        providers={} if serves is Serves.SCHOOL else providers,
        inbox=inbox or PostgresInbox(engine),
        readiness=readiness or partial(check, engine),
        bodies=BodyReader(settings.gateway_body_bytes, settings.gateway_body_seconds),
        unverified=UnverifiedRateLimit(
            settings.gateway_unverified_per_second,
            settings.gateway_unsigned_per_second,
            lambda provider, reference: not is_database_unavailable() and is_registered(engine, provider, reference),
        ),
        wake=partial(wake, route_of(WebhooksReceived).queue),
        return_urls=return_urls,
        client_of=client_address(settings.gateway_proxies),
        payments_mode=settings.payments_mode,
    )
    app.wsgi_app = WebhookFastPath(app.wsgi_app, app.extensions["gateway"])  # type: ignore[method-assign]
    if serves is not Serves.WEBHOOKS:
        school = school_engine or engine
        wake_videos = partial(wake, route_of(TranscodeVideo).queue)
        _add_school_api(app, settings, objects, PostgresCourses(school, wake_videos), school, providers)
    app.wsgi_app = with_hsts(app.wsgi_app, settings.https)  # type: ignore[method-assign]
    return app


def _add_school_api(
    app: Flask,
    settings: GatewaySettings,
    objects: Objects | None,
    courses: PostgresCourses,
    engine: Engine,
    providers: Mapping[str, Provider],
) -> None:
    """The routes that ask for a token."""
    found: Gateway = app.extensions["gateway"]
    app.before_request(forget_credential)
    app.extensions["api"] = Api(
        authorizer=Authorizer(
            TokenVerifier(settings.tokens, stored=StoredTokens(engine).find),
            found.client_of,
            TokenRate(settings.gateway_api_requests_per_minute),
        ),
        bodies=found.bodies,
        idempotency=PostgresIdempotencyKeys(engine),
    )
    app.extensions["uploads"] = Uploads(
        objects=objects,
        courses=courses,
        largest_bytes=settings.gateway_upload_max_bytes,
    )
    app.extensions["payments"] = Payments(
        providers=providers,
        books=partial(open_store, engine, settings.subscription_period),
        currency=settings.currency,
    )
    app.extensions["checkouts"] = CheckoutApi(
        providers=found.providers,
        checkouts=PostgresCheckouts(engine, partial(open_store, engine, settings.subscription_period)),
        currency=settings.currency,
        return_urls=ReturnUrls([url for url in settings.checkout_return_urls.split(",") if url]),
    )
    app.extensions["keys"] = KeyDelivery(PostgresKeys(engine))
    app.extensions["reading"] = Reading(engine, settings.currency)
    app.extensions["engine"] = engine
    _register_lessons(app, settings, engine)


def _register_lessons(app: Flask, settings: GatewaySettings, engine: Engine) -> None:
    """What the school does with a lesson: let a viewer play it, follow, cancel, retry, delete and caption it."""
    app.extensions["playback"] = Playback(
        signer=Signer(settings.playback_url, split_secrets(settings.playback_secrets)),
        lessons=PostgresLessons(engine),
    )
    app.extensions["videos"] = Videos(PostgresVideos(engine), BodyReader(MAX_CAPTIONS_BYTES, CAPTIONS_SECONDS))
    app.extensions["webhook_endpoints"] = Endpoints(engine, allow_private=settings.events_allow_private)
