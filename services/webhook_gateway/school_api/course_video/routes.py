"""Routes that manage a course's video: status, cancel, retry, delete, captions, chapters; `uploads` takes the file."""

import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final, Literal

from flask import Blueprint, current_app, request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.api.texts import OneLine
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.school_api.course_video.postgres import PostgresVideos
from shared.runtime.api_tokens import Scope
from shared.runtime.webvtt import CaptionsError, parse_captions, write_captions

videos = Blueprint("videos", __name__)

_VIDEO = "/api/v1/courses/<int(max=9223372036854775807):course_id>/video"
_CHAPTERS = f"{_VIDEO}/chapters"
_CAPTIONS = "/api/v1/courses/<int(max=9223372036854775807):course_id>/captions/<language>"
#: BCP 47, as far as players know it.
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")
#: Captions of hours, in a script of two bytes a letter.
MAX_CAPTIONS_BYTES = 2 * 1024 * 1024
CAPTIONS_SECONDS = 10.0
#: As many, and as long titles, as are taken from an upload.
MAX_CHAPTERS = 500
MAX_TITLE = 200
MAX_START_SECONDS = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Videos:
    """What the routes are given; kept in `app.extensions["videos"]`."""

    videos: PostgresVideos
    bodies: BodyReader


class VideoWarning(ResponseModel):
    """What a lesson that can be watched lacks."""

    code: str
    text: str


class CaptionTrackAnswer(ResponseModel):
    """Captions of one language."""

    language: str
    automatic: bool


class TranscriptionAnswer(ResponseModel):
    """Automatic captions, which are made once the lesson is whole."""

    status: Literal["pending", "processing", "completed", "failed"] = Field(
        description="completed, and no automatic track in `captions`: nothing was said, or a person's is there."
    )
    percent: float = Field(ge=0, le=100)


class ChapterAnswer(ResponseModel):
    """Where a part of the lesson begins, and what it is called."""

    start_seconds: float = Field(ge=0)
    title: str


class VideoAnswer(ResponseModel):
    """The newest upload of a course."""

    status: Literal["none", "pending", "processing", "completed", "failed", "cancelled", "cancelling", "deleting"] = (
        Field(
            description="none: no upload is complete. pending: complete, and no worker has begun; where an earlier "
            "upload's work ends or is deleted before a worker opens the new one, that end until then. The last two: "
            "asked for, and done within seconds."
        )
    )
    percent: float = Field(ge=0, le=100)
    warnings: list[VideoWarning] = Field(description="What the lesson lacks, for its teacher.")
    reason: str | None = Field(description="Why it failed: one sentence for the teacher.")
    master_key: str | None = Field(description="What the course shows now, of this upload or before.")
    captions: list[CaptionTrackAnswer]
    transcription: TranscriptionAnswer | None = Field(description="null: nothing is transcribed.")
    chapters: list[ChapterAnswer] = Field(description="Those sent by the API, else those of the file, in order.")
    duration_seconds: float | None


class ChaptersAnswer(ResponseModel):
    """The chapters that players show."""

    source: Literal["api", "upload", "none"] = Field(description="Who they are from; the API's come before the file's.")
    chapters: list[ChapterAnswer]


class ChapterBody(BaseModel):
    """One chapter."""

    model_config = ConfigDict(strict=True, extra="forbid")
    start_seconds: float = Field(ge=0, le=MAX_START_SECONDS, description="Before the lesson's end.")
    title: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TITLE), OneLine(is_title=True)
    ]


class ChaptersBody(BaseModel):
    """The chapters of a course's lesson, in place of those of the file."""

    model_config = ConfigDict(strict=True, extra="forbid")
    chapters: list[ChapterBody] = Field(
        max_length=MAX_CHAPTERS, description="In any order; no two begin at once. An empty list shows none."
    )


class DeletingAnswer(ResponseModel):
    """A worker deletes it within seconds."""

    status: Literal["deleting"]


class CancellingAnswer(ResponseModel):
    """A worker stops it within seconds."""

    status: Literal["cancelling"]


class RetryingAnswer(ResponseModel):
    """A worker begins within seconds."""

    status: Literal["pending"]


class CaptionsAnswer(ResponseModel):
    """Captions that are kept."""

    language: str
    cues: int = Field(ge=0)


_LANGUAGE_PARAMETER = {
    "description": "A tag as BCP 47 has it.",
    "schema": {"type": "string", "pattern": "^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}$"},
    "example": "ar",
}
#: What a worker does within seconds.
_ASKS: Final[dict[str, Any]] = {
    "scope": Scope.UPLOADS,
    "answer_text": "A worker does it within seconds. May be sent again.",
    "status": 202,
    "refusals": (errors.UnknownCourseError, errors.NothingToDoError),
}


@videos.get(_VIDEO, provide_automatic_options=False)
@operation(
    summary="How far the newest upload of a course is",
    scope=Scope.READ,
    answer=VideoAnswer,
    refusals=(errors.UnknownCourseError,),
    has_etag=True,
)
def show_video(course_id: int) -> VideoAnswer:
    found = _given().videos.show(course_id)
    return VideoAnswer.model_validate(asdict(found))


@videos.delete(_VIDEO, provide_automatic_options=False)
@operation(summary="Delete a course's lessons, uploads and keys", answer=DeletingAnswer, **_ASKS)
def delete_video(course_id: int) -> DeletingAnswer:
    return DeletingAnswer.model_validate({"status": _given().videos.ask(course_id, "delete")})


@videos.post(f"{_VIDEO}/cancel", provide_automatic_options=False)
@operation(summary="Stop the work on a course's newest upload", answer=CancellingAnswer, **_ASKS)
def cancel_video(course_id: int) -> CancellingAnswer:
    return CancellingAnswer.model_validate({"status": _given().videos.ask(course_id, "cancel")})


@videos.post(f"{_VIDEO}/retry", provide_automatic_options=False)
@operation(summary="Try a failed or cancelled upload again, with what was made of it", answer=RetryingAnswer, **_ASKS)
def retry_video(course_id: int) -> RetryingAnswer:
    return RetryingAnswer.model_validate({"status": _given().videos.ask(course_id, "retry")})


@videos.get(_CHAPTERS, provide_automatic_options=False)
@operation(
    summary="The chapters of a course's lesson",
    scope=Scope.READ,
    answer=ChaptersAnswer,
    refusals=(errors.UnknownCourseError,),
    has_etag=True,
)
def show_chapters(course_id: int) -> ChaptersAnswer:
    return ChaptersAnswer.model_validate(asdict(_given().videos.chapters(course_id)))


@videos.put(_CHAPTERS, provide_automatic_options=False)
@operation(
    summary="The chapters of a course's lesson, in place of the file's; in the lesson within seconds",
    scope=Scope.UPLOADS,
    body=ChaptersBody,
    answer=ChaptersAnswer,
    answer_text="They are kept.",
    fault=errors.BadChaptersError,
    refusals=(errors.UnknownCourseError,),
)
def put_chapters(course_id: int, body: ChaptersBody) -> ChaptersAnswer:
    listed = [chapter.model_dump() for chapter in body.chapters]
    return ChaptersAnswer.model_validate(asdict(_given().videos.put_chapters(course_id, listed)))


@videos.delete(_CHAPTERS, provide_automatic_options=False)
@operation(
    summary="Show the file's own chapters again",
    scope=Scope.UPLOADS,
    answer=ChaptersAnswer,
    answer_text="What players show now.",
    refusals=(errors.UnknownCourseError, errors.UnknownChaptersError),
)
def delete_chapters(course_id: int) -> ChaptersAnswer:
    return ChaptersAnswer.model_validate(asdict(_given().videos.remove_chapters(course_id)))


@videos.put(_CAPTIONS, provide_automatic_options=False)
@operation(
    summary="The captions of one language, WebVTT or SubRip in UTF-8; in the lesson within seconds",
    scope=Scope.UPLOADS,
    answer=CaptionsAnswer,
    answer_text="They are kept.",
    path={"language": _LANGUAGE_PARAMETER},
    refusals=(
        errors.BadCaptionsError,
        errors.UnknownCourseError,
        errors.BodyTooSlowError,
        errors.BodyTooLargeError,
        errors.EncodedBodyError,
    ),
    extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/vtt": {"schema": {"type": "string"}},
                "application/x-subrip": {"schema": {"type": "string"}},
            },
        },
    },
)
def put_captions(course_id: int, language: str) -> CaptionsAnswer:
    _require_language(language)
    body = _given().bodies.read(request.environ)
    try:
        cues = parse_captions(body)
    except CaptionsError as error:
        raise errors.BadCaptionsError(str(error)) from None
    _given().videos.put_captions(course_id, language, write_captions(cues))
    return CaptionsAnswer(language=language, cues=len(cues))


@videos.delete(_CAPTIONS, provide_automatic_options=False)
@operation(
    summary="Take the captions of one language away",
    scope=Scope.UPLOADS,
    answer=CaptionsAnswer,
    answer_text="They are gone.",
    path={"language": _LANGUAGE_PARAMETER},
    refusals=(errors.BadCaptionsError, errors.UnknownCourseError, errors.UnknownCaptionsError),
)
def delete_captions(course_id: int, language: str) -> CaptionsAnswer:
    _require_language(language)
    _given().videos.remove_captions(course_id, language)
    return CaptionsAnswer(language=language, cues=0)


def _require_language(language: str) -> None:
    """Raises BadCaptionsError where `language` is no tag."""
    if not _LANGUAGE.fullmatch(language):
        raise errors.BadCaptionsError("Name the language by its tag, such as ar, fr or en-GB.")


def _given() -> Videos:
    found: Videos = current_app.extensions["videos"]
    return found
