"""The API's documentation: its OpenAPI document, and the page that shows it."""

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from flask import Blueprint, Flask, Response, abort, jsonify, send_from_directory
from flask.typing import ResponseReturnValue

from services.webhook_gateway.api.openapi import build
from services.webhook_gateway.api.operations import documented
from services.webhook_gateway.http.routes import gateway
from services.webhook_gateway.school_api.audit_log.routes import audit_log
from services.webhook_gateway.school_api.checkouts.routes import checkouts
from services.webhook_gateway.school_api.content_keys.routes import keys
from services.webhook_gateway.school_api.course_video.routes import videos
from services.webhook_gateway.school_api.dead_letters.routes import dead_letters
from services.webhook_gateway.school_api.payments.read_routes import reading
from services.webhook_gateway.school_api.payments.register_route import payments
from services.webhook_gateway.school_api.playback.routes import playback
from services.webhook_gateway.school_api.uploads.routes import uploads
from services.webhook_gateway.school_api.webhook_endpoints.routes import webhook_endpoints
from services.webhook_gateway.school_api.webhook_events.routes import webhook_events
from shared import api_reference

reference = Blueprint("reference", __name__)


@reference.get("/openapi.json")
@documented(
    summary="This document",
    extra={
        "responses": {
            "200": {
                "description": "The document.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        }
    },
)
def show_openapi() -> ResponseReturnValue:
    return jsonify(document())


# the page's links are relative: at /docs/ they would lead nowhere
@reference.get("/docs", strict_slashes=True)
@documented(
    summary="This document for people",
    extra={
        "responses": {"200": {"description": "The page.", "content": {"text/html": {"schema": {"type": "string"}}}}}
    },
)
def show_docs() -> ResponseReturnValue:
    return Response(
        api_reference.write_page(TITLE),
        mimetype="text/html",
        headers={"Content-Security-Policy": api_reference.POLICY, "X-Content-Type-Options": "nosniff"},
    )


@reference.get("/docs/<file>")
@documented(
    summary="A file of that page",
    path={"file": {"schema": {"enum": sorted(api_reference.FILES)}, "example": "reference.css"}},
    extra={
        "responses": {
            "200": {
                "description": "The file.",
                "content": {kind: {"schema": {"type": "string"}} for kind in sorted(set(api_reference.FILES.values()))},
            },
            "404": {
                "description": "The page has no such file.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        }
    },
)
def show_docs_file(file: str) -> ResponseReturnValue:
    if file not in api_reference.FILES:
        abort(404, "The page has no such file.")
    return send_from_directory(api_reference.FOLDER, file, mimetype=api_reference.FILES[file])


#: Routes without a token; `gateway` alone is for strangers.
PUBLIC: Final[Sequence[Blueprint]] = (gateway, reference)
#: Routes that ask for a token. A new blueprint joins the application and the document by its line here.
SCHOOL_API: Final[Sequence[Blueprint]] = (
    uploads,
    payments,
    checkouts,
    reading,
    keys,
    playback,
    videos,
    webhook_events,
    dead_letters,
    audit_log,
    webhook_endpoints,
)
TITLE: Final = "Nouba gateway"
#: By blueprint, the heading of its operations.
TAGS: Final = {
    "gateway": "Webhooks and health",
    "uploads": "Lessons: upload",
    "videos": "Lessons: status, chapters, captions",
    "playback": "Lessons: playback",
    "keys": "Lessons: keys",
    "checkouts": "Checkouts",
    "payments": "Payments: register",
    "reading": "Payments, wallets, subscriptions",
    "webhook_endpoints": "Endpoints of events",
    "webhook_events": "Webhook events",
    "dead_letters": "Dead letters",
    "audit_log": "Audit log",
    "reference": "This document",
}


def register(app: Flask, *, has_school_api: bool = True) -> None:
    """Serve every route; without the school's API only those that strangers call."""
    app.url_map.strict_slashes = False
    # no provider follows a redirect
    app.url_map.merge_slashes = False
    for blueprint in (*PUBLIC, *SCHOOL_API) if has_school_api else (gateway,):
        app.register_blueprint(blueprint)


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI document; made when first asked for, since it takes a tenth of a start."""
    app = Flask("reference", static_folder=None)
    register(app)
    return build(
        app,
        {
            "title": TITLE,
            "version": version("nouba"),
            "description": "Takes payment providers' webhooks, and is the school's API. An answer of 200 or 202 to a "
            "webhook means that the event is durable. Amounts are minor units.",
        },
        TAGS,
    )
