"""Fixtures: the programs, the corpus folder, and finished lessons of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.planning.profile import EncodingProfile
from tests.transcoder import corpus

#: Cheap to encode, with the real segments and chunks as short as they can be.
QUICK = EncodingProfile(preset="ultrafast", chunk_seconds=6)
#: The same bytes' worth of pictures in one chunk.
WHOLE = replace(QUICK, chunk_seconds=60, least_chunk_seconds=60)


@pytest.fixture(scope="session")
def ffmpeg() -> Ffmpeg:
    return Ffmpeg()


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a film of a kind of the corpus, once."""
    folder = tmp_path_factory.mktemp("corpus")
    return lambda name: (corpus.build if name in corpus.KINDS else corpus.build_special)(name, folder)


@pytest.fixture(scope="session")
def lesson_of(
    film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Lesson]:
    """Makes a lesson of a kind of the corpus, once."""
    folder = tmp_path_factory.mktemp("lessons")
    made: dict[str, Lesson] = {}

    def make(name: str) -> Lesson:
        if name not in made:
            made[name] = make_lesson(film(name), folder / str(len(made)), ffmpeg, recipe=QUICK, jobs=2)
        return made[name]

    return make
