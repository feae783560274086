"""Routes of uploads."""

from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from flask import Blueprint, current_app
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from services.webhook_gateway import errors
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.response_model import ResponseModel
from services.webhook_gateway.api.texts import OneLine
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

Text = Annotated[str, StringConstraints(min_length=1, max_length=1024), OneLine()]
#: Its ending alone is kept, so that isolates, which phones put around names, do no harm.
FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]


@dataclass(frozen=True, slots=True)
class Uploads:
    """What the routes are given; kept in `app.extensions["uploads"]`. Without `objects` uploads are off."""

    objects: Objects | None
    courses: Courses
    largest_bytes: int


Address = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]


class WishBody(BaseModel):
    """What is going to be uploaded."""

    model_config = ConfigDict(strict=True)
    filename: FileName
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


class PartAddressAnswer(ResponseModel):
    """Where one part is PUT."""

    part_number: int
    url: Address


class TicketAnswer(ResponseModel):
    """How to upload: one PUT to `url`, or one to each of `parts`."""

    upload_id: str
    key: str
    url: Address = Field(default=None, description="PUT the whole file here. Absent for large files.")  # type: ignore[assignment]
    parts: list[PartAddressAnswer] = Field(
        default=[],
        description="PUT `part_size` bytes to each, the last with what is left. Present for large files.",
    )
    part_size: int = Field(description="Bytes.")
    headers: dict[str, str] = Field(description="Send them along.")


class StartedAnswer(ResponseModel):
    """Transcoding starts."""

    status: Literal["accepted"]
    key: str


class ReceivedPart(ResponseModel):
    """A part that S3 has."""

    part_number: int
    etag: str


class RestAnswer(ResponseModel):
    """What is missing of an upload in parts."""

    part_size: int = Field(description="Bytes.")
    parts: list[PartAddressAnswer]
    received: list[ReceivedPart] = Field(description="Send them along when the upload is completed.")


@uploads.post("/api/courses/<int(max=9223372036854775807):course_id>/video", provide_automatic_options=False)
@uploads.post("/api/v1/courses/<int(max=9223372036854775807):course_id>/video", provide_automatic_options=False)
@operation(
    summary="Where to put a course's video",
    scope=Scope.UPLOADS,
    body=WishBody,
    answer=TicketAnswer,
    answer_text="Addresses that can be used for twelve hours.",
    status=201,
    fault=errors.BadUploadError,
    refusals=(errors.UnknownCourseError, errors.UploadTooLargeError, errors.ObjectStoreUnavailableError),
)
def open_upload(course_id: int, body: WishBody) -> TicketAnswer:
    wish = Wish(body.filename, body.size, body.content_type)
    ticket = issue_ticket(course_id, wish, _objects(), _given().courses, _given().largest_bytes)
    known = {name: value for name, value in asdict(ticket).items() if value or name == "headers"}
    return TicketAnswer.model_construct(**known)


@uploads.post("/api/courses/<int(max=9223372036854775807):course_id>/video/complete", provide_automatic_options=False)
@uploads.post(
    "/api/v1/courses/<int(max=9223372036854775807):course_id>/video/complete", provide_automatic_options=False
)
@operation(
    summary="The video is there; make a lesson of it. May be sent again",
    scope=Scope.UPLOADS,
    body=CompletionBody,
    answer=StartedAnswer,
    answer_text="Transcoding starts.",
    status=202,
    fault=errors.BadUploadError,
    refusals=(errors.UnknownCourseError, errors.UploadMissingError, errors.ObjectStoreUnavailableError),
)
def close_upload(course_id: int, body: CompletionBody) -> StartedAnswer:
    parts = [Part(part.part_number, part.etag) for part in body.parts]
    complete(course_id, body.upload_id, body.key, parts, _objects(), _given().courses)
    return StartedAnswer(status="accepted", key=body.key)


@uploads.post("/api/v1/courses/<int(max=9223372036854775807):course_id>/video/parts", provide_automatic_options=False)
@operation(
    summary="New addresses for the parts of an upload that are missing",
    scope=Scope.UPLOADS,
    body=ResumptionBody,
    answer=RestAnswer,
    answer_text="Addresses that can be used for twelve hours.",
    fault=errors.BadUploadError,
    refusals=(errors.UnknownCourseError, errors.UploadMissingError, errors.ObjectStoreUnavailableError),
)
def resume_upload(course_id: int, body: ResumptionBody) -> RestAnswer:
    rest = resume(course_id, body.upload_id, body.key, body.size, _objects(), _given().courses)
    return RestAnswer.model_validate(asdict(rest))


def _given() -> Uploads:
    found: Uploads = current_app.extensions["uploads"]
    return found


def _objects() -> Objects:
    objects = _given().objects
    if objects is None:
        raise errors.ObjectStoreUnavailableError("Uploads are off here: NOUBA_S3_BUCKET is not set.")
    return objects
