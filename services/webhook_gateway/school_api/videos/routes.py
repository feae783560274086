"""The HTTP by which the school's back end follows a course's video, and cancels, retries or deletes it."""

import re
from dataclasses import asdict, dataclass

from flask import Blueprint, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from services.webhook_gateway import errors
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.school_api.auth import Authorizer
from services.webhook_gateway.school_api.videos.postgres import PostgresVideos
from shared.runtime.api_tokens import Scope
from shared.runtime.webvtt import CaptionsError, parse_captions, write_captions

videos = Blueprint("videos", __name__)

_VIDEO = "/api/v1/courses/<int(max=9223372036854775807):course_id>/video"
_CAPTIONS = "/api/v1/courses/<int(max=9223372036854775807):course_id>/captions/<language>"
#: BCP 47, as far as players know it.
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,2}")
#: Captions of hours, in a script of two bytes a letter.
LONGEST_CAPTIONS_BYTES = 2 * 1024 * 1024
CAPTIONS_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Videos:
    """What the routes are given; kept in `app.extensions["videos"]`."""

    authorizer: Authorizer
    videos: PostgresVideos
    bodies: BodyReader


@videos.get(_VIDEO, provide_automatic_options=False)
def show_video(course_id: int) -> ResponseReturnValue:
    found = _authorised(Scope.READ).show(course_id)
    return jsonify(
        status=found.status,
        percent=found.percent,
        warnings=found.warnings,
        reason=found.reason,
        master_key=found.master_key,
        captions=[asdict(track) for track in found.captions],
        chapters=found.chapters,
        duration_seconds=found.duration_seconds,
    )


@videos.delete(_VIDEO, provide_automatic_options=False)
def delete_video(course_id: int) -> ResponseReturnValue:
    return jsonify(status=_authorised().ask(course_id, "delete")), 202


@videos.post(f"{_VIDEO}/cancel", provide_automatic_options=False)
def cancel_video(course_id: int) -> ResponseReturnValue:
    return jsonify(status=_authorised().ask(course_id, "cancel")), 202


@videos.post(f"{_VIDEO}/retry", provide_automatic_options=False)
def retry_video(course_id: int) -> ResponseReturnValue:
    return jsonify(status=_authorised().ask(course_id, "retry")), 202


@videos.put(_CAPTIONS, provide_automatic_options=False)
def put_captions(course_id: int, language: str) -> ResponseReturnValue:
    given = _authorised_for(language)
    body = _given().bodies.read(request.environ)
    try:
        cues = parse_captions(body)
    except CaptionsError as error:
        raise errors.BadCaptionsError(str(error)) from None
    given.put_captions(course_id, language, write_captions(cues))
    return jsonify(language=language, cues=len(cues))


@videos.delete(_CAPTIONS, provide_automatic_options=False)
def delete_captions(course_id: int, language: str) -> ResponseReturnValue:
    _authorised_for(language).remove_captions(course_id, language)
    return jsonify(language=language, cues=0)


def _authorised_for(language: str) -> PostgresVideos:
    """Raises BadCaptions where `language` is no tag."""
    videos = _authorised()
    if not _LANGUAGE.fullmatch(language):
        raise errors.BadCaptionsError("Name the language by its tag, such as ar, fr or en-GB.")
    return videos


def _given() -> Videos:
    found: Videos = current_app.extensions["videos"]
    return found


def _authorised(scope: Scope = Scope.UPLOADS) -> PostgresVideos:
    _given().authorizer.require(scope)
    return _given().videos
