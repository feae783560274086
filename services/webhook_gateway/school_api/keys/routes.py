"""Route by which the school's back end fetches the key of an encrypted lesson."""

from dataclasses import dataclass
from typing import Protocol

from flask import Blueprint, Response, current_app
from flask.typing import ResponseReturnValue

from services.webhook_gateway.school_api.auth import Authorizer
from shared.runtime.api_tokens import Scope

keys = Blueprint("keys", __name__)


class Keys(Protocol):
    """The keys, as far as the route needs them."""

    def secret(self, course_id: int, key_id: str) -> bytes:
        """The sixteen bytes of a course's key. Raises UnknownKey."""
        ...


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """What the route is given; kept in `app.extensions["keys"]`."""

    authorizer: Authorizer
    keys: Keys


@keys.get("/api/courses/<int(max=9223372036854775807):course_id>/keys/<key_id>", provide_automatic_options=False)
def give_key(course_id: int, key_id: str) -> ResponseReturnValue:
    given: KeyDesk = current_app.extensions["keys"]
    given.authorizer.require(Scope.READ)
    # a text that PostgreSQL cannot hold is no key's name
    secret = given.keys.secret(course_id, key_id.replace("\0", "?"))
    # whoever stands between would hand it to the next who asks
    return Response(secret, mimetype="application/octet-stream", headers={"Cache-Control": "private, no-store"})
