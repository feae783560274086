"""A school with workers to kill, films to upload, and what must be true of the lessons afterwards."""

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from services.transcoder.encoding.local_pipeline import make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.jobs.model import State
from services.transcoder.jobs.status import JobStatus, read_statuses
from services.transcoder.jobs.submit import submit
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.storage.s3 import Storage
from shared.contracts.message import Message
from shared.messaging import outbox
from shared.runtime.database import RetryingEngine, build_engine
from tests.transcoder import film_cache
from tests.waiting import wait_until

BUCKET = "nouba"
CHUNK_SECONDS = 6
RECIPE = EncodingProfile(preset="ultrafast", chunk_seconds=CHUNK_SECONDS, loudness_lufs=-16.0)
#: Short enough for a test to wait for, long enough for a machine that does other things as well.
LEASE_SECONDS = 3.0

Files = dict[str, str]


class Bench:
    """One school on real servers. `environment` is a worker's further settings."""

    def __init__(
        self, database_url: str, rabbitmq_url: str, s3_url: str, folder: Path, depths: Callable[[], dict[str, int]]
    ) -> None:
        self.engine: Engine = build_engine(database_url)
        self.database = RetryingEngine(self.engine)
        self.storage = Storage(BUCKET, s3_url)
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.depths = depths
        self.environment = {
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            "NOUBA_S3_ENDPOINT_URL": s3_url,
            "NOUBA_S3_BUCKET": BUCKET,
            "NOUBA_TRANSCODER_SCRATCH_DIR": str(self.scratch),
            "NOUBA_TRANSCODER_SCRATCH_RESERVE_BYTES": "1000000",
            "NOUBA_TRANSCODER_PRESET": RECIPE.preset,
            "NOUBA_TRANSCODER_CHUNK_SECONDS": str(CHUNK_SECONDS),
            "NOUBA_TRANSCODER_LEASE_SECONDS": str(LEASE_SECONDS),
            # more than one, so that what parts of one worker share is tried, and so many on every machine
            "NOUBA_TRANSCODER_CONCURRENCY": "2",
            "NOUBA_TRANSCODER_RETRY_SECONDS": "0.2",
        }

    def add_course(self) -> int:
        with self.engine.begin() as connection:
            return int(connection.scalar(text("INSERT INTO courses DEFAULT VALUES RETURNING id")) or 0)

    def submit(self, film: Path, course_id: int | None = None) -> tuple[int, str]:
        """The course, and the key of the upload."""
        course_id = course_id or self.add_course()
        return course_id, submit(self.database, self.storage, film, course_id)

    def report(self, *messages: Message) -> None:
        """Enqueue messages, as often as they are named."""
        with self.engine.begin() as connection:
            for message in messages:
                outbox.enqueue(connection, "transcoder", message)

    @contextmanager
    def worker(self, failpoints: str = "", **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
        """`nouba transcoder worker`, as a supervisor starts it; killed at the end if it still runs."""
        environment = {**os.environ, **self.environment, "NOUBA_FAILPOINTS": failpoints, **settings}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("nouba"), "transcoder", "worker"],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def job(self, course_id: int) -> JobStatus | None:
        """The newest job of a course."""
        found = [one for one in self.jobs() if one.course_id == course_id]
        return found[0] if found else None

    def jobs(self) -> list[JobStatus]:
        """The newest first."""
        return read_statuses(self.database, limit=1000)

    def wait_for(self, course_id: int, state: State = State.COMPLETED, timeout_seconds: float = 180.0) -> JobStatus:
        """The newest job of a course, once it is in `state`."""

        def there() -> JobStatus | None:
            job = self.job(course_id)
            if job and job.over and job.state is not state:
                raise AssertionError(f"the job is {job.state}: {job.reason} {job.detail}")
            return job if job and job.state is state else None

        found: JobStatus = self.wait(there, f"the job of course {course_id} is not {state}", timeout_seconds)
        return found

    def wait(self, condition: Callable[[], Any], what: str, timeout_seconds: float = 30.0) -> Any:
        try:
            return wait_until(condition, timeout_seconds, what)
        except AssertionError as error:
            error.add_note(self.log.read_text()[-6000:] if self.log.exists() else "no worker was started")
            raise

    def wait_until_quiet(self, timeout_seconds: float = 30.0) -> None:
        """Nothing is enqueued, and nothing queued."""
        names = ("videos", "videos.DQ")
        self.wait(lambda: self.scalar("SELECT count(*) FROM outbox") == 0, "the outbox is not empty", timeout_seconds)
        self.wait(
            lambda: not any(self.depths().get(name, 0) for name in names), "queues are not empty", timeout_seconds
        )

    def scalar(self, query: str, **values: object) -> Any:
        with self.engine.connect() as connection:
            return connection.scalar(text(query), values)

    def rows(self, query: str, **values: object) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(query), values).all())

    def course(self, course_id: int) -> tuple[str | None, str | None]:
        """What the course says: its status, and what it shows."""
        row = self.rows("SELECT transcoding_status, video_ref FROM courses WHERE id = :id", id=course_id)[0]
        return row.transcoding_status, row.video_ref

    def objects(self, prefix: str) -> Files:
        """The hash of every object below `prefix` by its name there, text unpacked."""
        return {name: hashlib.sha256(body).hexdigest() for name, body in self.bodies(prefix).items()}

    def bodies(self, prefix: str) -> dict[str, bytes]:
        """Every object below `prefix` by its name there, text unpacked."""
        found = {}
        for key in self.storage.list(prefix):
            answer = self.storage.client.get_object(Bucket=BUCKET, Key=key)
            data = answer["Body"].read()
            if answer.get("ContentEncoding") == "gzip":
                data = gzip.decompress(data)
            found[key.removeprefix(prefix)] = data
        return found

    def lesson(self, course_id: int) -> Files:
        """Every object of the lesson that a course shows, without what was shown before it was whole."""
        _, master = self.course(course_id)
        assert master, "the course shows a lesson"
        found = self.objects(master.removesuffix("master.m3u8"))
        return {name: digest for name, digest in found.items() if not name.startswith("first/")}

    def left_in_scratch(self) -> list[str]:
        """Files in scratch space."""
        # os.walk passes over a folder that its worker removes meanwhile
        return [name for _, _, names in os.walk(self.scratch) for name in names]


def made_alone(film: Path, folder: Path) -> Files:
    """Every file of the lesson that one process makes of `film` without any server."""
    out = folder / "alone"
    make_lesson(film, out, Ffmpeg(), recipe=RECIPE, jobs=2)
    files = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file()
    }
    shutil.rmtree(out)
    return files


def make_film(path: Path, *, seconds: int = 20, size: str = "352x288", codec: str = "mpeg4") -> Path:
    """A film with sound, of few pictures. With `libx264` it plays in browsers as it is."""
    picture = f"testsrc2=size={size}:rate=10:duration={seconds}"
    sound = f"sine=frequency=440:sample_rate=48000:duration={seconds}"
    call = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    call += ["-c:v", codec, "-g", "20", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k"]
    call += ["-preset", "ultrafast"] if codec == "libx264" else ["-q:v", "5"]
    kept = film_cache.make(call, film_cache.folder_for(repr(call).encode()) / f"film{path.suffix}")
    shutil.copy(kept, path)
    return path
