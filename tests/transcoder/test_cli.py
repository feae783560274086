"""`nouba transcoder run` and `lint`, as people and programs use them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from services.transcoder.cli import transcoder
from services.transcoder.encoding.local_pipeline import Lesson

PROGRAM = "from services.transcoder.cli import transcoder; transcoder()"


def test_run_makes_a_lesson_and_prints_json_about_it(film: Callable[[str], Path], tmp_path: Path) -> None:
    source = film("three renditions")

    result = CliRunner(env={"NOUBA_TRANSCODER_PRESET": "ultrafast"}).invoke(
        transcoder, ["run", str(source), "--out", str(tmp_path / "out"), "--jobs", "2", "--json"]
    )

    assert result.exit_code == 0, result.output
    reported = json.loads(result.stdout)
    assert Path(reported["master"]).is_file()
    assert list(reported["renditions"]) == ["480p", "360p", "240p", "audio0"]
    assert reported["duration_seconds"] == 3
    assert "poster.jpg" in reported["stills"]


def test_run_shows_people_what_was_made(film: Callable[[str], Path], tmp_path: Path) -> None:
    result = CliRunner(env={"NOUBA_TRANSCODER_PRESET": "ultrafast"}).invoke(
        transcoder, ["run", str(film("half a second")), "--out", str(tmp_path / "out")]
    )

    assert result.exit_code == 0
    assert "master.m3u8" in result.output
    assert "160 x 90" in result.output


def test_a_refused_file_is_one_sentence_and_an_exit_status(tmp_path: Path) -> None:
    letter = tmp_path / "letter.mp4"
    letter.write_text("dear student")

    plain = CliRunner().invoke(transcoder, ["run", str(letter), "--out", str(tmp_path / "out")])
    machine = CliRunner().invoke(transcoder, ["run", str(letter), "--out", str(tmp_path / "out"), "--json"])

    assert plain.exit_code == machine.exit_code == 1
    assert "This file is not a video that we can read" in plain.output
    assert json.loads(machine.stdout)["reason"] == "not_a_video"
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(film: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    result = CliRunner().invoke(transcoder, ["run", str(film("half a second")), "--out", str(tmp_path)])

    assert result.exit_code == 1
    assert "choose another folder" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_interrupting_removes_everything_at_once(tmp_path: Path) -> None:
    # Given a lesson that takes long
    long = tmp_path / "long.mp4"
    picture = "testsrc2=size=640x360:rate=30:duration=60"
    made = ["-f", "lavfi", "-i", picture, "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", *made, str(long)], check=True, timeout=120)
    run = [sys.executable, "-c", PROGRAM, "run", str(long), "--out", str(tmp_path / "out"), "--jobs", "2"]
    process = subprocess.Popen(
        run, stderr=subprocess.PIPE, env={**os.environ, "NOUBA_TRANSCODER_PRESET": "medium"}, text=True
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".nouba-*/lesson/.chunk*/*")) and time.monotonic() < deadline:
        time.sleep(0.05)

    # When it is interrupted
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    _, errors = process.communicate(timeout=20)

    # Then it ends within seconds, with a sentence, and nothing stays
    assert time.monotonic() - asked < 5
    assert process.returncode == 1
    assert "cancelled" in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.mp4"]


def test_lint_passes_a_lesson_and_fails_a_broken_one(lesson_of: Callable[[str], Lesson], tmp_path: Path) -> None:
    master = lesson_of("three renditions").folder / "master.m3u8"
    broken = tmp_path / "master.m3u8"
    broken.write_text("#EXTM3U\n")

    good = CliRunner().invoke(transcoder, ["lint", str(master), "--json"])
    bad = CliRunner().invoke(transcoder, ["lint", str(broken)])

    assert good.exit_code == 0
    assert json.loads(good.stdout)["passed"] is True
    assert bad.exit_code == 1
    assert "RFC 8216" in bad.output


def test_lint_lists_its_rules() -> None:
    result = CliRunner().invoke(transcoder, ["lint", "--rules"])

    assert result.exit_code == 0
    assert len(result.output.splitlines()) >= 50
