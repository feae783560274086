"""The part `transcoder`: a lesson's price beside bare ffmpeg, the first picture, and what a second worker brings."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import psycopg2

from bench import cores, films, ladders, player_startup, speech
from bench.films import PICTURES_PER_SECOND
from bench.measures import Measure, Options, Show, alternate
from bench.rivals import bare_ffmpeg
from bench.running import NOUBA, Cost, postgres, rabbitmq, run, running, s3
from local.s3 import BUCKET

PART = "transcoder"
_ALONE, _EACH, _FREE = "one bare ffmpeg", "one ffmpeg a rendition", "one bare ffmpeg, threads as it likes"


def measure(options: Options, show: Show) -> Iterator[Measure]:
    """CPU and wall time of both kinds of film, then time to the first picture and two workers beside one."""
    height, seconds = (360, 2) if options.quick else (1080, 24)
    for kind in films.KINDS:
        show(f"making the {kind} film", 0, 1)
        film = films.make(kind, options.folder / f"{kind}.mp4", height=height, seconds=seconds)
        costs = _costs(options, film, height, partial(_with_kind, show, kind))
        title = f"{kind} {height}p, {seconds} s"
        cpu = {who: [one.cpu_seconds for one in found] for who, found in costs.items()}
        goal = f"at most 1.11 of {_ALONE}"
        yield Measure(part=PART, name=f"CPU, {title}", unit="s", samples=cpu, goal=goal)
        wall = {who: [one.wall_seconds for one in found] for who, found in costs.items()}
        yield Measure(part=PART, name=f"wall time, {title}", unit="s", samples=wall, goal=goal)
    yield from ladders.measure(PART, options, show)
    yield _growth(options, height, show)
    yield from _together(options, options.folder / "natural.mp4", seconds, show)
    yield from speech.measure(PART, options, show)


def _with_kind(show: Show, kind: str, who: str, done: int, steps: int) -> None:
    show(f"{kind}: {who}", done, steps)


def _costs(options: Options, film: Path, height: int, show: Show) -> dict[str, list[Cost]]:
    rate = PICTURES_PER_SECOND

    def with_folder(make: Callable[[Path], Cost]) -> Cost:
        folder = options.folder / "made"
        folder.mkdir()
        try:
            return make(folder)
        finally:
            shutil.rmtree(folder)

    def nouba(folder: Path) -> Cost:
        cost = run([NOUBA, "transcoder", "run", film, "--out", folder / "lesson", "--json"], {})
        _require(folder / "lesson" / "master.m3u8")
        return cost

    def alone(folder: Path, threads: int | None = None) -> Cost:
        cost = run(bare_ffmpeg.one_process(str(film), height, rate, threads=threads), {}, folder=folder)
        _require(folder / "master.m3u8")
        return cost

    def each(folder: Path) -> Cost:
        costs = [run(call, {}, folder=folder) for call in bare_ffmpeg.process_each(str(film), height, rate)]
        return Cost(sum(one.wall_seconds for one in costs), sum(one.cpu_seconds for one in costs), "")

    makers: dict[str, Callable[[Path], Cost]] = {
        "nouba transcoder run": nouba,
        _ALONE: alone,
        _FREE: partial(alone, threads=0),
        _EACH: each,
    }
    return alternate(options.rounds, {who: partial(with_folder, make) for who, make in makers.items()}, show)


def _growth(options: Options, height: int, show: Show) -> Measure:
    """A film, and one twice and four times as long: the price of a second of film must stay the same."""
    first = 1 if options.quick else 12
    samples = {}
    for number, seconds in enumerate((first, 2 * first, 4 * first)):
        show(f"a film of {seconds} s", number, 3)
        film = films.make("natural", options.folder / f"{seconds}.mp4", height=height, seconds=seconds)
        lesson = options.folder / f"lesson of {seconds} s"
        cost = run([NOUBA, "transcoder", "run", film, "--out", lesson, "--json"], {})
        samples[f"{seconds} s of film"] = [cost.cpu_seconds]
        shutil.rmtree(lesson)
    name, goal = f"CPU, natural {height}p, longer and longer", "as much for each second of film"
    return Measure(part=PART, name=name, unit="s", samples=samples, goal=goal, grows_with="seconds of film")


def _together(options: Options, film: Path, seconds: int, show: Show) -> Iterator[Measure]:
    """The path that uploads take: S3, RabbitMQ, PostgreSQL, and workers that share a lesson's chunks."""
    with contextlib.ExitStack() as stack:
        school = _School(options, film, seconds, stack)
        contenders = {
            "two workers": partial(school.make_lesson, 2),
            "one worker": partial(school.make_lesson, 1),
            "one worker, a part for each processor": partial(school.make_lesson, 1, parts=os.cpu_count() or 1),
        }
        found = alternate(options.rounds, contenders, show)
        first = {who: [one for one, _ in pairs] for who, pairs in found.items()}
        name = f"H.264 upload of {seconds} s to first picture"
        yield Measure(part=PART, name=name, unit="s", samples={"one worker": first["one worker"]}, goal="seconds")
        whole = {who: [one for _, one in pairs] for who, pairs in found.items()}
        goal = "two workers at least 1.85 times as fast as one"
        yield Measure(part=PART, name=f"upload of {seconds} s to whole lesson", unit="s", samples=whole, goal=goal)
        if cores.are_there(2):
            each = {
                "two workers and the servers on two cores": partial(school.make_lesson_pinned, 2),
                "one worker and the servers on one core": partial(school.make_lesson_pinned, 1),
            }
            name = f"upload of {seconds} s to whole lesson, with a core for each worker"
            yield Measure(part=PART, name=name, unit="s", samples=alternate(options.rounds, each, show), goal=goal)
        memory = {"transcoder worker, beside its ffmpeg": [school.worker_mb]}
        yield Measure(part=PART, name="memory of a process", unit="MB", samples=memory, goal="at most 150 MB", digits=0)
        yield from player_startup.measure(PART, options, school.settings, school.newest_course_id, show)


class _School:
    """The servers, a course at a time, and workers for it; `stack` ends the servers."""

    def __init__(self, options: Options, film: Path, seconds: int, stack: contextlib.ExitStack) -> None:
        self._folder, self._film = options.folder, film
        database = stack.enter_context(postgres(self._folder))
        broker = stack.enter_context(rabbitmq(self._folder))
        storage = stack.enter_context(s3(self._folder))
        self._servers = [pid for pid in (database.pid, broker.pid, storage.pid) if pid is not None]
        (self._folder / "scratch").mkdir()
        self._count = 0
        #: The most memory of a worker's own process in any lesson, without the ffmpeg that it starts.
        self.worker_mb = 0.0
        #: The course of the last lesson.
        self.newest_course_id = 0
        self._connection = stack.enter_context(contextlib.closing(psycopg2.connect(database.url)))
        self._connection.autocommit = True
        self.settings = {
            "NOUBA_DATABASE_URL": database.url,
            "NOUBA_RABBITMQ_URL": broker.url,
            "NOUBA_S3_ENDPOINT_URL": storage.url,
            "NOUBA_S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": storage.access_key_id,
            "AWS_SECRET_ACCESS_KEY": storage.secret_access_key,
            "AWS_REGION": "us-east-1",
            "NOUBA_TRANSCODER_SCRATCH_DIR": str(self._folder / "scratch"),
            "NOUBA_TRANSCODER_SCRATCH_RESERVE_BYTES": "1000000",
            # so short a film has to be cut finer than a lesson, or one worker would make all of it
            "NOUBA_TRANSCODER_CHUNK_SECONDS": str(max(6, seconds // 4)),
        }

    def make_lesson(self, workers: int, parts: int = 1) -> tuple[float, float]:
        """Seconds from the end of an upload to its first picture, and to the lesson; `parts` at once a worker."""
        self._count += 1
        settings = {**self.settings, "NOUBA_TRANSCODER_CONCURRENCY": str(parts)}
        film = films.copy(self._film, self._folder / "upload.mp4", f"lesson {self._count}")
        course_id = int(self._ask("INSERT INTO courses DEFAULT VALUES RETURNING id")[0])
        self.newest_course_id = course_id
        with contextlib.ExitStack() as stack:
            hands = []
            for number in range(workers):
                log = self._folder / f"worker-{self._count}-{number}.log"
                hands.append(stack.enter_context(running([NOUBA, "transcoder", "worker"], settings, log)))
            for hand in hands:
                hand.wait(lambda hand=hand: "worker started" in hand.log, "did not start")  # type: ignore[misc]
            run([NOUBA, "transcoder", "submit", film, "--course", str(course_id), "--json"], self.settings)
            began = time.monotonic()
            until = hands[0].most_mb_until
            first_mb = until(lambda: self._course(course_id)[1], "showed no picture", 300)
            first_seconds = time.monotonic() - began
            whole_mb = until(lambda: self._course(course_id)[0] == "completed", "did not finish", 600)
            whole_seconds = time.monotonic() - began
            self.worker_mb = max(self.worker_mb, first_mb, whole_mb)
            return first_seconds, whole_seconds

    def make_lesson_pinned(self, workers: int) -> float:
        """Seconds to the lesson where workers and servers have as many cores as there are workers."""
        with cores.pinned(workers, self._servers):
            return self.make_lesson(workers)[1]

    def _course(self, course_id: int) -> tuple[str | None, str | None]:
        status, shown = self._ask("SELECT transcoding_status, video_ref FROM courses WHERE id = %s", course_id)
        if status == "failed":
            raise click.ClickException("The transcoder failed to make the lesson; `bench` made the film wrong.")
        return status, shown

    def _ask(self, query: str, *values: object) -> tuple[str, ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            found: tuple[str, ...] = cursor.fetchone() or ()
        return found


def _require(master: Path) -> None:
    if not master.exists():
        raise click.ClickException(f"{master.name} was not written: what was measured is not a lesson.")
