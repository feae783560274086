"""Fixtures: the programs, the corpus folder, and finished lessons of it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.planning.profile import EncodingProfile
from tests.suite.run_folder import RunFolder
from tests.transcoder import corpus

#: Cheap to encode, with the real segments and chunks as short as they can be.
QUICK = EncodingProfile(preset="ultrafast", chunk_seconds=6)
#: The same bytes' worth of pictures in one chunk.
WHOLE = replace(QUICK, chunk_seconds=60, least_chunk_seconds=60)


def further(*arguments: object) -> ParameterSet:
    """The arguments of a variation that `make test` leaves to `make test-all`, because it makes another one."""
    return pytest.param(*arguments, marks=pytest.mark.slow)


@pytest.fixture(scope="session")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg()


@pytest.fixture(scope="session")
def film() -> Callable[[str], Path]:
    """Makes a film of a kind of the corpus, once."""
    return corpus.build


@pytest.fixture(scope="session")
def lesson_of(film: Callable[[str], Path], ffmpeg: Ffmpeg, test_run: RunFolder) -> Callable[[str], Lesson]:
    """Makes a lesson of a kind of the corpus, once for all processes of the run."""

    def make(name: str) -> Lesson:
        key = f"lesson-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
        return test_run.once(
            key, lambda folder: make_lesson(film(name), folder / "lesson", ffmpeg, recipe=QUICK, jobs=2)
        )

    return make
