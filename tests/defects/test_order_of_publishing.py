"""A lesson can be watched only when all of it is there: its master is written after everything that it leads to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from services.transcoder.encoding.encode import encode_audio, encode_chunk
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.playlists import MASTER_NAME
from services.transcoder.hls.segment_metadata import dump_parts
from services.transcoder.inspection.inspect_and_rewrap import prepare
from services.transcoder.jobs.model import Job, TaskKind, TaskResult
from services.transcoder.jobs.publish_playlists import publish
from services.transcoder.planning.plan import make_plan
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.storage.object_store import ObjectInfo
from tests.transcoder.jobs.harness import make_film

RECIPE = EncodingProfile(preset="ultrafast", chunk_seconds=6, loudness_lufs=-16.0)


@dataclass
class RecordingObjects:
    """A bucket that knows the order in which it was filled."""

    put_keys: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> int:
        self.put_keys.append(key)
        return len(data)

    def list(self, prefix: str) -> dict[str, ObjectInfo]:
        return {key: ObjectInfo(1, "", datetime.now(UTC)) for key in self.put_keys if key.startswith(prefix)}

    def head(self, key: str) -> ObjectInfo:
        raise AssertionError("publishing reads no single object")

    def read(self, key: str) -> bytes:
        raise AssertionError("publishing reads nothing")

    def download(self, key: str, etag: str, size_bytes: int, path: Path, cancelled: Callable[[], bool]) -> None:
        raise AssertionError("publishing fetches nothing")


def test_the_master_is_written_after_every_playlist_that_it_names(tmp_path: Path) -> None:
    ffmpeg, lesson = Ffmpeg(), tmp_path / "lesson"
    lesson.mkdir()
    prepared = prepare(make_film(tmp_path / "film.mp4", seconds=6, size="160x120"), tmp_path, ffmpeg, RECIPE)
    plan = make_plan(prepared.source, prepared.sha256, ffmpeg.build, RECIPE)
    parts = [part for chunk in plan.chunks for part in encode_chunk(plan, chunk, prepared.path, lesson, ffmpeg)]
    parts += [encode_audio(plan, sound, prepared.path, lesson, ffmpeg) for sound in plan.sounds]
    files = {path.relative_to(lesson).as_posix(): path.stat().st_size for path in lesson.rglob("*") if path.is_file()}
    job = Job(id=1, course_id=1, source_key="uploads/a", source_etag="1", source_bytes=1, plan=plan)
    objects = RecordingObjects()

    master = publish(job, {(TaskKind.VIDEO, 0): TaskResult(files, dump_parts(parts))}, objects)

    assert master == job.prefix + MASTER_NAME == objects.put_keys[-1]
    assert len(objects.put_keys) >= 3
