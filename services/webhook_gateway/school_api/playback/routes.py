"""Route by which the school's back end gets the playback address of a lesson for one viewer."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from flask import Blueprint, current_app
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import DECIMAL
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.school_api.playback.playback import Lessons, Signer, Wish
from shared.runtime.api_tokens import Scope
from shared.runtime.playback_links import MAX_VIEWER_BYTES, normalise_address

playback = Blueprint("playback", __name__)

DEFAULT_TTL_SECONDS = 4 * 3600
MIN_TTL_SECONDS, MAX_TTL_SECONDS = 30, 24 * 3600


@dataclass(frozen=True, slots=True)
class Playback:
    """What the route is given; kept in `app.extensions["playback"]`."""

    signer: Signer
    lessons: Lessons


def _check_viewer(viewer: str) -> str:
    if not 1 <= len(viewer.encode("utf-8", "replace")) <= MAX_VIEWER_BYTES or not viewer.isprintable():
        raise ValueError(f"name who watches, for example by the user's id, in at most {MAX_VIEWER_BYTES} bytes.")
    return viewer


def _check_address(address: str) -> str:
    try:
        return normalise_address(address)
    except ValueError:
        raise ValueError("the viewer's IP address, such as 203.0.113.7 or 2001:db8::7.") from None


class PlaybackQuery(BaseModel):
    """Who watches, for how long, and from where."""

    model_config = ConfigDict(frozen=True)
    viewer: Annotated[str, AfterValidator(_check_viewer)] = Field(
        min_length=1,
        max_length=MAX_VIEWER_BYTES,
        description="Who watches, for example the user's id. It stands in the address, readable.",
        json_schema_extra={"example": "u-17"},
    )
    ttl_seconds: Annotated[int, Field(ge=MIN_TTL_SECONDS, le=MAX_TTL_SECONDS), DECIMAL] = DEFAULT_TTL_SECONDS
    address: Annotated[str, AfterValidator(_check_address)] | None = Field(
        None, description="The viewer's IP address; the answer's address then plays from there alone."
    )


class PlaybackAnswer(ResponseModel):
    """The address of a lesson for one viewer."""

    master_url: Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})] = Field(
        description="Give it to the player as it is."
    )
    expires_at: AwareDatetime


@playback.get("/api/v1/courses/<int(max=9223372036854775807):course_id>/playback", provide_automatic_options=False)
@operation(
    summary="An address by which one viewer plays a course's lesson for a while",
    scope=Scope.READ,
    query=PlaybackQuery,
    answer=PlaybackAnswer,
    answer_text="It plays as it is.",
    fault=errors.BadPlaybackError,
    refusals=(errors.UnknownCourseError, errors.LessonNotReadyError, errors.PlaybackOffError),
)
def sign_playback(course_id: int, query: PlaybackQuery) -> PlaybackAnswer:
    given: Playback = current_app.extensions["playback"]
    wish = Wish(query.viewer, timedelta(seconds=query.ttl_seconds), query.address)
    link = given.signer.sign(course_id, wish, given.lessons, datetime.now(UTC))
    return PlaybackAnswer(master_url=link.master_url, expires_at=link.expires_at)
