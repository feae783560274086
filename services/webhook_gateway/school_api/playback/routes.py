"""The HTTP by which the school's back end gets the address of a lesson for one viewer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from services.webhook_gateway import errors
from services.webhook_gateway.school_api.auth import Authorizer
from services.webhook_gateway.school_api.playback.playback import Lessons, Signer, Wish
from shared.runtime.api_tokens import Scope
from shared.runtime.playback_links import LONGEST_VIEWER_BYTES, normalise_address

playback = Blueprint("playback", __name__)

DEFAULT_TTL_SECONDS = 4 * 3600
SHORTEST_TTL_SECONDS, LONGEST_TTL_SECONDS = 30, 24 * 3600
_PARAMETERS = {"viewer", "ttl_seconds", "address"}


@dataclass(frozen=True, slots=True)
class Playback:
    """What the route is given; kept in `app.extensions["playback"]`."""

    authorizer: Authorizer
    signer: Signer
    lessons: Lessons


@playback.get("/api/v1/courses/<int(max=9223372036854775807):course_id>/playback", provide_automatic_options=False)
def sign_playback(course_id: int) -> ResponseReturnValue:
    given: Playback = current_app.extensions["playback"]
    given.authorizer.require(Scope.READ)
    link = given.signer.sign(course_id, _read_wish(request.args), given.lessons, datetime.now(UTC))
    answer = jsonify(master_url=link.master_url, expires_at=link.expires_at.isoformat())
    # the address is a capability of one viewer
    answer.headers["Cache-Control"] = "private, no-store"
    return answer


def _read_wish(given: Mapping[str, str]) -> Wish:
    """Raises BadPlayback, naming the parameter that is wrong and not what it holds."""
    if unknown := sorted(set(given) - _PARAMETERS):
        raise errors.BadPlaybackError(f"There is no parameter {unknown[0][:40]!r}: {', '.join(sorted(_PARAMETERS))}.")
    viewer = given.get("viewer", "")
    if not 1 <= len(viewer.encode("utf-8", "replace")) <= LONGEST_VIEWER_BYTES or not viewer.isprintable():
        raise errors.BadPlaybackError(
            f"viewer: name who watches, for example by the user's id, in at most {LONGEST_VIEWER_BYTES} bytes."
        )
    seconds = given.get("ttl_seconds", str(DEFAULT_TTL_SECONDS))
    limits = range(SHORTEST_TTL_SECONDS, LONGEST_TTL_SECONDS + 1)
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 10 and int(seconds) in limits):
        raise errors.BadPlaybackError(f"ttl_seconds: a number from {limits[0]} to {limits[-1]}.")
    return Wish(viewer, timedelta(seconds=int(seconds)), _read_address(given.get("address")))


def _read_address(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        return normalise_address(given)
    except ValueError:
        raise errors.BadPlaybackError("address: the viewer's IP address, such as 203.0.113.7 or 2001:db8::7.") from None
