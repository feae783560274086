"""Messages about videos: transcode an upload, run a task, a lesson is ready."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from shared.contracts.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscodeVideo(Message):
    """The upload `source_key` of a course is complete in S3, and is to become its lesson."""

    name: ClassVar[str] = "videos.transcode"
    course_id: int
    source_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeChunk(Message):
    """Chunk number `chunk` of a job's picture is due."""

    name: ClassVar[str] = "videos.encode_chunk"
    job_id: int
    chunk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodeAudio(Message):
    """What a job needs beside its picture is due: every sound track, the poster and the storyboard."""

    name: ClassVar[str] = "videos.encode_audio"
    job_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishLesson(Message):
    """All parts of a job are made; its lesson is to be published."""

    name: ClassVar[str] = "videos.publish"
    job_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReady(Message):
    """A course's video can be watched in full; the statistics of `day` (in the school's zone) are no longer right."""

    name: ClassVar[str] = "videos.ready"
    course_id: int
    day: date
