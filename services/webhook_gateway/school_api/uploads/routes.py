"""Routes of uploads."""

from dataclasses import asdict, dataclass
from typing import Annotated

from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.webhook_gateway import errors
from services.webhook_gateway.http.request_body import BodyReader
from services.webhook_gateway.school_api.auth import Authorizer, read_json
from services.webhook_gateway.school_api.uploads.uploads import (
    MULTIPART_FROM_BYTES,
    Courses,
    Objects,
    Part,
    Wish,
    complete,
    issue_ticket,
    resume,
)
from shared.runtime.api_tokens import Scope

uploads = Blueprint("uploads", __name__)

Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]


@dataclass(frozen=True, slots=True)
class Uploads:
    """What the routes are given; kept in `app.extensions["uploads"]`. Without `objects` uploads are off."""

    authorizer: Authorizer
    objects: Objects | None
    courses: Courses
    bodies: BodyReader
    largest_bytes: int


class WishBody(BaseModel):
    """What is going to be uploaded."""

    model_config = ConfigDict(strict=True)
    filename: Text
    size: int = Field(gt=0, description="Bytes.")
    content_type: Annotated[str, StringConstraints(pattern=r"^[\w.+-]+/[\w.+-]+$", max_length=100)]


class PartBody(BaseModel):
    """A part that S3 has taken."""

    model_config = ConfigDict(strict=True)
    part_number: int = Field(ge=1, le=10_000)
    etag: Text


class CompletionBody(BaseModel):
    """What was uploaded; `parts` only where the ticket had parts."""

    model_config = ConfigDict(strict=True)
    upload_id: Text
    key: Text
    parts: list[PartBody] = Field(default=[], max_length=10_000)


class ResumptionBody(BaseModel):
    """An upload in parts that is to go on."""

    model_config = ConfigDict(strict=True)
    upload_id: Text
    key: Text
    size: int = Field(ge=MULTIPART_FROM_BYTES, description="Bytes of the whole file, as before.")


@uploads.post("/api/courses/<int(max=9223372036854775807):course_id>/video", provide_automatic_options=False)
def open_upload(course_id: int) -> ResponseReturnValue:
    _given().authorizer.require(Scope.UPLOADS)
    body = read_json(WishBody, _given().bodies, errors.BadUploadError)
    wish = Wish(body.filename, body.size, body.content_type)
    ticket = issue_ticket(course_id, wish, _objects(), _given().courses, _given().largest_bytes)
    answer = {name: value for name, value in asdict(ticket).items() if value or name == "headers"}
    return jsonify(answer), 201


@uploads.post("/api/courses/<int(max=9223372036854775807):course_id>/video/complete", provide_automatic_options=False)
def close_upload(course_id: int) -> ResponseReturnValue:
    _given().authorizer.require(Scope.UPLOADS)
    body = read_json(CompletionBody, _given().bodies, errors.BadUploadError)
    parts = [Part(part.part_number, part.etag) for part in body.parts]
    complete(course_id, body.upload_id, body.key, parts, _objects(), _given().courses)
    return jsonify(status="accepted", key=body.key), 202


@uploads.post("/api/v1/courses/<int(max=9223372036854775807):course_id>/video/parts", provide_automatic_options=False)
def resume_upload(course_id: int) -> ResponseReturnValue:
    _given().authorizer.require(Scope.UPLOADS)
    body = read_json(ResumptionBody, _given().bodies, errors.BadUploadError)
    rest = resume(course_id, body.upload_id, body.key, body.size, _objects(), _given().courses)
    return jsonify(asdict(rest))


def _given() -> Uploads:
    found: Uploads = current_app.extensions["uploads"]
    return found


def _objects() -> Objects:
    objects = _given().objects
    if objects is None:
        raise errors.ObjectStoreUnavailableError("Uploads are off here: NOUBA_S3_BUCKET is not set.")
    return objects
