"""Films of many writers become lessons as long, in sync, in shape and in colour, by plain ffmpeg's measure."""

from pathlib import Path

import pytest

from services.transcoder.errors import TranscoderError
from services.transcoder.ffmpeg.process import Ffmpeg
from tests.transcoder.strangers.figures import figures_of
from tests.transcoder.strangers.recipes import RECIPES, Recipe

#: One of each table for `make test`; `make test-all` judges each second one, and `make test-nightly` the others.
REPRESENTATIVE = {
    "H.264 and AAC in MPEG-TS", "a program stream that began anew", "open groups of pictures", "VP8 with hidden frames",
}  # fmt: skip


def _marks(place: int, recipe: Recipe) -> tuple[pytest.MarkDecorator, ...]:
    if recipe.name in REPRESENTATIVE:
        return ()
    return (pytest.mark.nightly if place % 2 else pytest.mark.slow,)


@pytest.mark.parametrize(
    "recipe", [pytest.param(one, id=one.name, marks=_marks(place, one)) for place, one in enumerate(RECIPES)]
)
def test_a_film_of_a_stranger_becomes_the_lesson_that_a_viewer_expects(
    recipe: Recipe, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    figures = figures_of(recipe, ffmpeg, tmp_path)

    assert figures.faults == []


def test_the_corpus_has_films_of_many_writers_and_each_has_a_name_of_its_own() -> None:
    assert len(RECIPES) >= 120
    assert len({recipe.name for recipe in RECIPES}) == len(RECIPES)
    assert len({recipe.writer for recipe in RECIPES}) >= 8


@pytest.mark.parametrize("name", ["H.264 and AAC in MP4"])
def test_the_judge_finds_a_lesson_of_another_film(name: str, ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    one = next(recipe for recipe in RECIPES if recipe.name == name)
    other = next(recipe for recipe in RECIPES if recipe.name == "sound that starts late")

    with pytest.raises((AssertionError, TranscoderError)):
        assert figures_of(one, ffmpeg, tmp_path, made_of=other).faults == []
