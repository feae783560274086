"""Use case: a whole lesson on one machine, from a file to a folder of HLS, with no server."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.transcoder.encoding.captions import read_captions
from services.transcoder.encoding.encode import encode_audio, encode_chunk, warnings_of
from services.transcoder.encoding.plan_lesson import plan_lesson
from services.transcoder.encoding.thumbnails import make_stills
from services.transcoder.errors import EnvironmentNotReadyError
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.ffmpeg.progress import Progress
from services.transcoder.hls.encryption import Key
from services.transcoder.hls.package import Package, assemble, with_captions
from services.transcoder.hls.playlists import MASTER_NAME
from services.transcoder.hls.segment_metadata import RenditionSlice
from services.transcoder.inspection.inspect_and_rewrap import Prepared, prepare
from services.transcoder.planning.damage import Damage
from services.transcoder.planning.plan import Plan
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.planning.source import LessonWarning


@dataclass(frozen=True, slots=True)
class EncodingProgress:
    """How far a lesson is. `speed` is seconds of the lesson made in one second."""

    stage: str
    done: float
    speed: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """A finished lesson."""

    folder: Path
    plan: Plan
    assembly: Package
    stills: tuple[str, ...]
    #: What is not as it should be, for the teacher.
    warnings: tuple[LessonWarning, ...]
    seconds: float


def make_lesson(
    path: Path,
    folder: Path,
    ffmpeg: Ffmpeg,
    *,
    recipe: EncodingProfile | None = None,
    jobs: int = 1,
    scratch: Path | None = None,
    key: Key | None = None,
    on_progress: Callable[[EncodingProgress], None] = lambda _: None,
    cancelled: Callable[[], bool] = never,
) -> Lesson:
    """Turn `path` into HLS in `folder`, which appears whole or not at all.

    Raises RejectedInputError, TransientError, JobCancelledError or EnvironmentNotReadyError; scratch space is gone in
    every case.
    """
    if folder.exists() and any(folder.iterdir()):
        raise EnvironmentNotReadyError(f"{folder} is not empty: choose another folder, or empty it first.")
    started = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".nouba-", dir=scratch or folder.parent))
    try:
        on_progress(EncodingProgress("checking the file", 0.0, 0.0))
        chosen = recipe or EncodingProfile()
        prepared = prepare(path, work, ffmpeg, chosen, cancelled=cancelled)
        plan = plan_lesson(prepared, chosen, work, ffmpeg, cancelled=cancelled)
        (work / "lesson").mkdir()
        encoder = _LocalEncoder(plan, prepared, path, work / "lesson", ffmpeg, key, on_progress, cancelled)
        parts, stills = encoder.run(jobs)
        warnings = warnings_of(plan, encoder.damages)
        on_progress(EncodingProgress("writing playlists", 0.99, 0.0))
        assembly = with_captions(
            assemble(plan, parts, key.lock if key else None),
            read_captions(plan.source, path, work, ffmpeg, cancelled),
        )
        _publish(assembly, work / "lesson", folder)
        on_progress(EncodingProgress("done", 1.0, 0.0))
        return Lesson(folder, plan, assembly, tuple(stills), warnings, time.monotonic() - started)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _LocalEncoder:
    """Encodes all parts at once, and stops all when one fails."""

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        upload: Path,
        folder: Path,
        ffmpeg: Ffmpeg,
        key: Key | None,
        on_progress: Callable[[EncodingProgress], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._plan, self._prepared, self._upload = plan, prepared, upload
        self._folder, self._ffmpeg = folder, ffmpeg
        self._key, self._on_progress, self._cancelled = key, on_progress, cancelled
        self.damages: list[Damage] = []
        self._failed = threading.Event()
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._started = time.monotonic()

    def run(self, jobs: int) -> tuple[list[RenditionSlice], list[str]]:
        """All parts, and the names of the stills."""
        source, plan = self._prepared.path, self._plan
        parts: list[RenditionSlice] = []
        stills: list[str] = []
        with ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="encoder") as pool:
            chunks = [pool.submit(self._chunk, index) for index in range(len(plan.chunks))]
            sounds = [pool.submit(self._sound, index) for index in range(len(plan.sounds))]
            pictures = pool.submit(make_stills, plan, source, self._folder, self._ffmpeg, cancelled=self._stopped)
            try:
                work: list[Future[Any]] = [*chunks, *sounds, pictures]
                for future in as_completed(work):
                    future.result()
            except BaseException:
                # Ctrl-C too: the threads see it within a tick and kill their ffmpeg
                self._failed.set()
                pool.shutdown(cancel_futures=True)
                raise
            for chunk in chunks:
                parts += chunk.result()
            parts += [sound.result() for sound in sounds]
            stills += pictures.result()
        return parts, stills

    def _chunk(self, index: int) -> list[RenditionSlice]:
        chunk = self._plan.chunks[index]
        rate = self._plan.rate

        def advance(progress: Progress) -> None:
            self._advance(f"chunk {index}", float(min(progress.frames, chunk.frames) / rate))

        return encode_chunk(
            self._plan,
            chunk,
            self._prepared.path,
            self._folder,
            self._ffmpeg,
            key=self._key,
            on_progress=advance,
            on_damage=self.damages.append,
            cancelled=self._stopped,
        )

    def _sound(self, index: int) -> RenditionSlice:
        sound = self._plan.sounds[index]

        def advance(progress: Progress) -> None:
            if not self._plan.chunks:
                self._advance(sound.name, progress.seconds / len(self._plan.sounds))

        return encode_audio(
            self._plan,
            sound,
            self._prepared.path,
            self._folder,
            self._ffmpeg,
            upload=self._upload,
            key=self._key,
            on_progress=advance,
            on_damage=self.damages.append,
            cancelled=self._stopped,
        )

    def _stopped(self) -> bool:
        return self._failed.is_set() or self._cancelled()

    def _advance(self, step: str, seconds: float) -> None:
        with self._lock:
            self._seconds[step] = seconds
            made = sum(self._seconds.values())
            share = min(1.0, made / float(self._plan.duration_seconds))
            self._on_progress(
                EncodingProgress("encoding", 0.98 * share, made / max(0.001, time.monotonic() - self._started))
            )


def _publish(assembly: Package, made: Path, folder: Path) -> None:
    for name, text in assembly.playlists.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text, encoding="utf-8", newline="\n")
    assert list(assembly.playlists)[-1] == MASTER_NAME, "the master is written last"
    if folder.exists():
        folder.rmdir()
    shutil.move(made, folder)
