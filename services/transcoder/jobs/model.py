"""Jobs, tasks and leases, and the store that the use cases need. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol

from services.transcoder.hls.captions import Captions
from services.transcoder.planning.damage import Damage
from services.transcoder.planning.plan import Plan
from services.transcoder.planning.source import LessonWarning

#: Where lessons are published.
ROOT = "hls/"
PREVIEW_FOLDER = "first/"


class State(StrEnum):
    """Where a job is; the last three are final."""

    QUEUED = "queued"
    PROBING = "probing"
    ENCODING = "encoding"
    PUBLISHING = "publishing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskKind(StrEnum):
    """What one row of work is: one worker does it at one time."""

    PLAN = "plan"
    #: Something to watch before the whole lesson is there.
    FIRST = "first"
    VIDEO = "video"
    AUDIO = "audio"
    STILLS = "stills"
    PUBLISH = "publish"
    #: Automatic captions of some minutes, once the lesson is whole.
    SPEECH = "speech"


#: The state in which a job's tasks of each kind may be done.
STATE_OF = {
    TaskKind.PLAN: State.PROBING,
    TaskKind.FIRST: State.ENCODING,
    TaskKind.VIDEO: State.ENCODING,
    TaskKind.AUDIO: State.ENCODING,
    TaskKind.STILLS: State.ENCODING,
    TaskKind.PUBLISH: State.PUBLISHING,
    TaskKind.SPEECH: State.COMPLETED,
}
#: What a lesson is made of.
MADE = (TaskKind.VIDEO, TaskKind.AUDIO, TaskKind.STILLS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A source as S3 has it."""

    course_id: int
    key: str
    etag: str
    size_bytes: int
    uploaded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One upload on its way to a lesson."""

    id: int
    course_id: int
    source_key: str
    source_etag: str
    source_bytes: int
    plan: Plan | None = None
    #: Whether the plan is for the upload in another container, made anew on each machine.
    rewrapped: bool = False

    @property
    def prefix(self) -> str:
        """Where its objects are: named by their content, so that no other bytes ever have these names."""
        assert self.plan is not None, "a job without a plan has no objects"
        return prefix_of(self.course_id, self.plan.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to do one task of a job, as long as it is renewed. `owner` is new with every claim."""

    job: Job
    task_id: int
    kind: TaskKind
    number: int
    owner: str
    attempts: int


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a finished task left in S3, and what was measured of it."""

    #: Size by name, below the job's prefix.
    files: Mapping[str, int]
    #: As `measure.dump_parts` has them.
    parts: Sequence[Mapping[str, Any]] = ()
    #: What did not decode.
    damage: Sequence[Damage] = ()
    #: Which captions the upload carries.
    captions: Sequence[Captions] = ()


class JobStore(Protocol):
    """The tables. Every method is one transaction, may be repeated, and waits for a database that is away."""

    def open(self, upload: Upload) -> int:
        """The id of the job for `upload`, new or known. An older upload's unfinished job is cancelled by it."""
        ...

    def missing(self, course_id: int, source_key: str, reason: str) -> None:
        """There is no such upload: fail what waited for it."""
        ...

    def waiting(self, job_id: int, kinds: Sequence[TaskKind]) -> list[tuple[TaskKind, int]]:
        """The tasks of these kinds that are not done."""
        ...

    def claim(self, job_id: int, kind: TaskKind, number: int) -> Lease | None:
        """The lease on a task, None where it is done, or done by somebody else now, or the job is over."""
        ...

    def beat(self, lease: Lease, done_seconds: float) -> bool:
        """Renew the lease; false where it was lost or the job is over. Does not wait for the database."""
        ...

    def started(self, lease: Lease) -> None:
        """The upload is being checked."""
        ...

    def planned(
        self, lease: Lease, plan: Plan, rewrapped: bool, *, show_preview: bool, captions: Sequence[Captions] = ()
    ) -> bool:
        """Keep the plan, its tasks and the upload's captions, and report them; false where the lease was lost."""
        ...

    def finish(self, lease: Lease, done: TaskResult, done_seconds: float) -> bool:
        """The task is done; with the last one, publishing is due. False where the lease was lost."""
        ...

    def release(self, lease: Lease, error: str, wait_seconds: float, *, counted: bool) -> None:
        """The task waits for another attempt."""
        ...

    def show_preview(self, lease: Lease, video_ref: str, done: TaskResult) -> bool:
        """Show `video_ref` in the course until the lesson is complete, unless it shows a complete one; whether so."""
        ...

    def results(self, job_id: int) -> dict[tuple[TaskKind, int], TaskResult]:
        """What all finished tasks left."""
        ...

    def requeue(self, lease: Lease, tasks: Sequence[tuple[TaskKind, int]]) -> None:
        """What these tasks made is not there: have it made again before publishing."""
        ...

    def complete(
        self,
        lease: Lease,
        video_ref: str,
        day: date,
        warnings: Sequence[LessonWarning] = (),
        *,
        speech_tasks: int = 0,
    ) -> bool:
        """Show `video_ref` in the course, and publish `VideoReady`; false if the job is over for another reason.

        Its sound is then transcribed in `speech_tasks` tasks.
        """
        ...

    def fail(self, job_id: int, reason: str, detail: str) -> bool:
        """The upload will never become a lesson; false where the job was over already."""
        ...

    def replan(self, job_id: int) -> bool:
        """Begin anew with the encoder that is here, where nobody has moved the job for long; whether that is so."""
        ...


def prefix_of(course_id: int, content_key: str) -> str:
    """Where a lesson's objects are."""
    return f"{ROOT}{course_id}/{content_key}/"


def preview_of(course_id: int, content_key: str) -> str:
    """Where its preview's objects are."""
    return prefix_of(course_id, content_key) + PREVIEW_FOLDER
