"""A spoken lesson through a worker with a real model: captioned after it is whole, in its time, and encrypted too."""

import subprocess
from pathlib import Path

import pytest

from local.installers.whisper import find_whisper
from shared.runtime.webvtt import parse_captions
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.strangers.makers import require

FIRST = "Welcome to the lesson. We will talk about the speed of light."
SECOND = "Please open your book and read the first paragraph."
#: In the second task, behind two minutes.
SECOND_AT = 126


def spoken_film(folder: Path) -> Path:
    """140 seconds with two sentences."""
    require("espeak-ng")
    for name, sentence in (("first", FIRST), ("second", SECOND)):
        speak = ["espeak-ng", "-v", "en", "-s", "140", "-w", f"{name}.wav", sentence]
        subprocess.run(speak, check=True, cwd=folder)
    call = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=size=128x72:rate=5:duration=140"]
    call += ["-i", "first.wav", "-i", "second.wav", "-filter_complex"]
    call += [
        f"[1]adelay=2000[a];[2]adelay={SECOND_AT}000[b];[a][b]amix=2:normalize=0,aresample=48000,apad=whole_dur=140"
    ]
    call += ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "film.mp4"]
    subprocess.run(call, check=True, cwd=folder)
    return folder / "film.mp4"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_spoken_lesson_is_captioned_by_a_worker_that_goes_on_where_another_was_killed(
    bench: Bench, tmp_path: Path
) -> None:
    # Given a school whose lessons are encrypted, and a worker that dies when it has heard the first task
    python, model = find_whisper()
    settings = {
        "NOUBA_TRANSCODER_CAPTIONS_MODEL": str(model),
        "NOUBA_TRANSCODER_CAPTIONS_PYTHON": str(python),
        "NOUBA_TRANSCODER_ENCRYPT": "always",
        "NOUBA_TRANSCODER_CHUNK_SECONDS": "60",
    }
    course_id, _ = bench.submit(spoken_film(tmp_path))
    with bench.worker("transcoder.after_speech=kill", **settings) as worker:
        bench.wait(lambda: worker.poll() is not None, "nothing was heard", 300)

    # Then the lesson is whole without captions
    assert bench.course(course_id)[0] == "completed"
    assert bench.rows("SELECT * FROM captions") == []

    # When another worker goes on
    with bench.worker(**settings):
        bench.wait(lambda: "/master-" in (bench.course(course_id)[1] or ""), "no captions are shown", 300)

    # Then both sentences are in the captions of the likeliest language, at their times
    (track,) = bench.rows("SELECT language, body, automatic, job_id FROM captions")
    assert (track.language, track.automatic) == ("en", True)
    cues = parse_captions(track.body.encode())
    before = " ".join(cue.text for cue in cues if cue.start_ms < 120_000).replace("\n", " ").lower()
    after = [cue for cue in cues if cue.start_ms >= 120_000]
    assert "welcome" in before
    assert "speed of light" in before
    assert "paragraph" not in before
    assert "first paragraph" in " ".join(cue.text for cue in after).replace("\n", " ").lower()
    assert abs(cues[0].start_ms - 2000) < 1000
    assert abs(after[0].start_ms - SECOND_AT * 1000) < 1000
    # and the playlist says that a machine wrote them
    assert 'NAME="English (auto)",LANGUAGE="en"' in bench.storage.text(bench.course(course_id)[1] or "")
    attempts = bench.rows("SELECT attempts, state FROM transcode_chunks WHERE kind = 'speech' ORDER BY number")
    assert [tuple(row) for row in attempts] == [(2, "done"), (1, "done")]
