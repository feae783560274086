"""Route by which the school's back end gets the content key of an encrypted lesson."""

from dataclasses import dataclass
from typing import Protocol

from flask import Blueprint, Response, current_app

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from shared.runtime.api_tokens import Scope

keys = Blueprint("keys", __name__)


class Keys(Protocol):
    """The keys, as far as the route needs them."""

    def secret(self, course_id: int, key_id: str) -> bytes:
        """The sixteen bytes of a course's key. Raises UnknownKeyError."""
        ...


@dataclass(frozen=True, slots=True)
class KeyDelivery:
    """What the route is given; kept in `app.extensions["keys"]`."""

    keys: Keys


@keys.get("/api/courses/<int(max=9223372036854775807):course_id>/keys/<key_id>", provide_automatic_options=False)
@keys.get("/api/v1/courses/<int(max=9223372036854775807):course_id>/keys/<key_id>", provide_automatic_options=False)
@operation(
    summary="The key of an encrypted lesson, for the school's back end to pass on to who may watch it",
    scope=Scope.READ,
    path={
        "key_id": {
            "description": "As the lesson's playlists name it.",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "example": "0123456789abcdef0123456789abcdef",
        }
    },
    refusals=(errors.UnknownKeyError,),
    extra={
        "responses": {
            "200": {
                "description": "Sixteen bytes.",
                "headers": {
                    "Cache-Control": {
                        "description": "private, no-store.",
                        "required": True,
                        "schema": {"type": "string"},
                    }
                },
                "content": {"application/octet-stream": {"schema": {}}},
            }
        }
    },
)
def give_key(course_id: int, key_id: str) -> Response:
    given: KeyDelivery = current_app.extensions["keys"]
    # a text that PostgreSQL cannot hold is no key's name
    secret = given.keys.secret(course_id, key_id.replace("\0", "?"))
    # a proxy would hand it to the next client
    return Response(secret, mimetype="application/octet-stream", headers={"Cache-Control": "private, no-store"})
