"""What the benchmark says of quality: every frame is compared with itself, whatever the container's clock."""

import subprocess
from pathlib import Path

import pytest

from bench.quality import Meter


@pytest.mark.parametrize("suffix", ["ts", "mkv", "m3u8"])
def test_a_film_in_another_container_is_the_same_film(tmp_path: Path, suffix: str) -> None:
    film, copy = tmp_path / "film.mp4", tmp_path / f"copy.{suffix}"
    moving = ["-f", "lavfi", "-i", "testsrc2=size=128x72:rate=25,noise=alls=30:allf=t", "-t", "3"]
    subprocess.run(["ffmpeg", "-v", "error", *moving, "-c:v", "libx264", "-preset", "ultrafast", film], check=True)
    subprocess.run(["ffmpeg", "-v", "error", "-i", film, "-c", "copy", copy], check=True)

    assert Meter("SSIM", Path("ffmpeg")).compare(copy, film) == 1
