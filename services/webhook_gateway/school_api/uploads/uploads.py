"""Use case: presign an upload to S3, and enqueue its transcoding when it is complete."""

import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from services.webhook_gateway.errors import UnknownCourseError, UploadMissingError, UploadTooLargeError

MIB = 1024 * 1024
#: From this size on an upload goes in parts, each of which can be sent again on its own.
MULTIPART_FROM_BYTES = 64 * MIB
SMALLEST_PART_BYTES = 16 * MIB
#: S3 takes 10,000; so many addresses still fit into one answer.
MAX_PARTS = 1000
#: How long the addresses in a ticket can be used: a slow line needs hours for an hour of video.
VALID_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Wish:
    """What is going to be uploaded."""

    filename: str
    size: int
    content_type: str


@dataclass(frozen=True, slots=True)
class PartAddress:
    """Where one part is PUT."""

    part_number: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """How to upload: one PUT to `url`, or `part_size` bytes (the last one fewer) to each of `parts`, with `headers`."""

    upload_id: str
    key: str
    part_size: int
    url: str | None = None
    parts: Sequence[PartAddress] = ()
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """A part that S3 has taken, as S3 named it."""

    part_number: int
    etag: str


@dataclass(frozen=True, slots=True)
class Rest:
    """What is missing of an upload in parts: new addresses for that, and the parts that S3 has."""

    part_size: int
    parts: Sequence[PartAddress]
    received: Sequence[Part]


class Objects(Protocol):
    """The bucket, as far as uploads need it. Each may raise ObjectStoreUnavailableError."""

    def put_address(self, key: str, size: int, content_type: str) -> str:
        """Where exactly `size` bytes of `content_type` can be PUT once."""
        ...

    def begin_parts(self, key: str, size: int, content_type: str) -> str:
        """Begin an upload of `size` bytes in parts; its id."""
        ...

    def part_address(self, key: str, upload_id: str, part_number: int, size: int) -> str:
        """Where one part of exactly `size` bytes can be PUT."""
        ...

    def received_parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """The parts that S3 has. Raises UploadMissingError."""
        ...

    def join_parts(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Make one object of the parts; nothing happens where that was done before.

        Raises UploadMissingError, also where the parts are not as many bytes as were announced: nothing is kept then.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether the object is there and not empty."""
        ...


class Courses(Protocol):
    """The school's courses, as far as uploads need them."""

    def exists(self, course_id: int) -> bool:
        """Whether there is such a course."""
        ...

    def transcode(self, course_id: int, source_key: str) -> None:
        """Enqueue the transcoder's message; the course's status is `pending` until a worker opens the job."""
        ...


def issue_ticket(course_id: int, wish: Wish, objects: Objects, courses: Courses, largest_bytes: int) -> Ticket:
    """A ticket for one upload to a course. Raises UnknownCourseError and UploadTooLargeError."""
    if wish.size > largest_bytes:
        raise UploadTooLargeError(wish.size, largest_bytes)
    if not courses.exists(course_id):
        raise UnknownCourseError(course_id)
    key = f"{_folder(course_id)}{uuid.uuid4().hex}{_ending(wish.filename)}"
    if wish.size < MULTIPART_FROM_BYTES:
        url = objects.put_address(key, wish.size, wish.content_type)
        # the address works once: what was checked is what is transcoded
        headers = {"Content-Type": wish.content_type, "If-None-Match": "*"}
        return Ticket(upload_id=key.rsplit("/", 1)[1], key=key, part_size=wish.size, url=url, headers=headers)
    part_size, numbers = _parts_of(wish.size)
    upload_id = objects.begin_parts(key, wish.size, wish.content_type)
    parts = [
        PartAddress(number, objects.part_address(key, upload_id, number, _bytes_of(number, part_size, wish.size)))
        for number in numbers
    ]
    return Ticket(upload_id=upload_id, key=key, part_size=part_size, parts=parts)


def resume(course_id: int, upload_id: str, key: str, size: int, objects: Objects, courses: Courses) -> Rest:
    """New addresses for the parts that are missing, as the old ones end.

    Raises UnknownCourseError or UploadMissingError.
    """
    _require_own(course_id, key, courses)
    part_size, numbers = _parts_of(size)
    received = objects.received_parts(key, upload_id)
    there = {part.part_number for part in received}
    missing = [
        PartAddress(number, objects.part_address(key, upload_id, number, _bytes_of(number, part_size, size)))
        for number in numbers
        if number not in there
    ]
    return Rest(part_size, missing, received)


def complete(
    course_id: int, upload_id: str, key: str, parts: Sequence[Part], objects: Objects, courses: Courses
) -> None:
    """The upload is there: transcoding starts. May be said again. Raises UnknownCourseError or UploadMissingError."""
    _require_own(course_id, key, courses)
    if parts:
        objects.join_parts(key, upload_id, parts)
    if not objects.exists(key):
        raise UploadMissingError(key)
    courses.transcode(course_id, key)


def _require_own(course_id: int, key: str, courses: Courses) -> None:
    """A ticket for one course must not start another's."""
    if not courses.exists(course_id):
        raise UnknownCourseError(course_id)
    if not re.fullmatch(re.escape(_folder(course_id)) + r"[0-9a-f]{32}(\.[a-z0-9]{1,5})?", key):
        raise UploadMissingError(key)


def _parts_of(size: int) -> tuple[int, range]:
    """The bytes of a part, and the numbers of the parts."""
    part_size = max(SMALLEST_PART_BYTES, math.ceil(size / MAX_PARTS / MIB) * MIB)
    return part_size, range(1, math.ceil(size / part_size) + 1)


def _bytes_of(number: int, part_size: int, size: int) -> int:
    """The last part has the rest."""
    return min(part_size, size - (number - 1) * part_size)


def _folder(course_id: int) -> str:
    return f"uploads/{course_id}/"


def _ending(filename: str) -> str:
    """The file's ending where it is a plain one; it helps a person who opens the bucket, and decides nothing."""
    ending = PurePosixPath(filename).suffix.lower()
    return ending if ending[1:].isascii() and ending[1:].isalnum() and len(ending) <= 6 else ""
