"""Automatic captions through a worker, with a stub in place of the model, and faults that leave the lesson alone."""

import threading
from pathlib import Path
from typing import Any

from services.transcoder.jobs.transcriber import ATTEMPTS, Transcriber
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.jobs.test_postgres_jobs import School
from tests.transcoder.jobs.test_postgres_jobs import school as school  # a fixture
from tests.transcoder.jobs.test_postgres_speech import Speech
from tests.transcoder.speech.stub import install_stub

#: How many seconds were heard, and whether there was a tone in them.
HEARD = """
        pairs = [abs(int.from_bytes(samples[at : at + 2], "little", signed=True)) for at in range(0, len(samples), 2)]
        said = f"seconds={len(pairs) / 16000:.1f} loud={sum(pairs) / len(pairs) > 500}"
"""


def test_a_worker_captions_an_encrypted_lesson_from_its_own_segments(
    bench: Bench, short_film: Path, tmp_path: Path
) -> None:
    # Given a worker with a model, and a lesson of 12 seconds with a tone
    python, model = install_stub(tmp_path, HEARD.strip())
    settings = {
        "NOUBA_TRANSCODER_CAPTIONS_MODEL": str(model),
        "NOUBA_TRANSCODER_CAPTIONS_PYTHON": str(python),
        "NOUBA_TRANSCODER_CAPTIONS_LANGUAGES": "ar,fr",
        "NOUBA_TRANSCODER_ENCRYPT": "always",
    }
    course_id, _ = bench.submit(short_film)
    with bench.worker(**settings):
        bench.wait(lambda: "/master-" in (bench.course(course_id)[1] or ""), "no captions are shown", 120)

    # Then it has heard all of it, decrypted and decoded, and the master names the captions
    (track,) = bench.rows("SELECT language, body, automatic FROM captions")
    assert (track.language, track.automatic) == ("fr", True)
    assert "seconds=12.0 loud=True" in track.body
    master = bench.storage.text(bench.course(course_id)[1] or "")
    assert 'NAME="Français (auto)",LANGUAGE="fr"' in master


def test_a_worker_without_its_model_does_not_start_and_says_why(bench: Bench, tmp_path: Path) -> None:
    with bench.worker(NOUBA_TRANSCODER_CAPTIONS_MODEL=str(tmp_path)) as worker:
        bench.wait(lambda: worker.poll() is not None, "it works without a model", 120)
        assert worker.returncode != 0
    assert "NOUBA_TRANSCODER_CAPTIONS_MODEL" in bench.log.read_text()
    assert "Traceback" not in bench.log.read_text()


def test_a_fault_is_tried_again_and_never_fails_the_lesson(school: School) -> None:
    # Given a lesson whose sound cannot be read: its results name no segment
    speech = Speech(school)
    job_id = speech.lesson(parts=2)
    unused: Any = None
    transcriber = Transcriber(speech.parts, unused, threading.Event())

    # When its first part fails as often as it may, and waits in between
    for attempt in range(1, ATTEMPTS + 1):
        assert transcriber.work()
        if attempt < ATTEMPTS:
            assert not transcriber.work()
            school.scalar("UPDATE transcode_chunks SET due_at = now() WHERE kind = 'speech' RETURNING 1")

    # Then there is nothing more to do, the operator can read why, and the lesson is what it was
    assert not transcriber.work()
    assert school.state(job_id) == "completed"
    assert school.course()[0] == "completed"
    status = speech.status
    assert status
    assert (status.status, status.percent) == ("failed", 0.0)
    assert school.scalar("SELECT count(*) FROM transcode_chunks WHERE state = 'failed' AND error <> ''") == 2


def test_a_worker_that_ends_begins_no_part(school: School) -> None:
    speech = Speech(school)
    speech.lesson(parts=1)
    stopping = threading.Event()
    stopping.set()
    unused: Any = None
    assert not Transcriber(speech.parts, unused, stopping).work()
    assert speech.claim().attempts == 1
