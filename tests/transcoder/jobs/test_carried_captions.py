"""Captions that an upload carries, through the worker: kept with the course, and a person's own come before them."""

import subprocess
from pathlib import Path

from sqlalchemy import text

from tests.transcoder.encoding.test_carried import carrying
from tests.transcoder.jobs.harness import Bench


def test_an_uploads_captions_are_shown_except_in_a_language_that_a_person_sent(bench: Bench, tmp_path: Path) -> None:
    course_id = bench.add_course()
    with bench.engine.begin() as connection:
        sent = "INSERT INTO captions (course_id, language, body) VALUES (:id, 'fr', :body)"
        connection.execute(text(sent), {"id": course_id, "body": "WEBVTT\n\n00:00.000 --> 00:01.000\nSalut\n"})
    bench.submit(carrying(tmp_path, "mkv", "srt"), course_id)

    with bench.worker():
        bench.wait_for(course_id)
        bench.wait(lambda: "/master-" in (bench.course(course_id)[1] or ""), "no captions are shown")

        # Then the upload's Arabic is beside the French that was sent
        kept = {row.language: row for row in bench.rows("SELECT language, body, job_id FROM captions")}
        assert set(kept) == {"ar", "fr"}
        assert "مرحبا" in kept["ar"].body
        assert kept["ar"].job_id is not None
        assert "Salut" in kept["fr"].body
        master = bench.storage.text(bench.course(course_id)[1] or "")
        assert 'LANGUAGE="ar"' in master
        assert 'LANGUAGE="fr"' in master
        assert bench.scalar("SELECT jsonb_array_length(chapters) FROM transcode_jobs") == 3

        # When an upload without subtitles takes its place, they are gone, and what a person sent is not
        second = tmp_path / "second"
        second.mkdir()
        film = carrying(second, "mkv", "srt")
        plain = second / "plain.mp4"
        _without_subtitles(film, plain)
        bench.submit(plain, course_id)
        bench.wait(lambda: len(bench.jobs()) == 2 and bench.jobs()[0].over, "the second upload is not done")
        assert [row.language for row in bench.rows("SELECT language FROM captions")] == ["fr"]


def _without_subtitles(film: Path, plain: Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(film), "-sn", "-c", "copy", str(plain)], check=True)
