"""From an upload to a published lesson, with all servers and more than one worker."""

from pathlib import Path

import pytest

from services.transcoder.storage.s3 import IMMUTABLE
from tests.transcoder.jobs.harness import Bench, Files, made_alone, make_film
from tests.transcoder.strangers import makers
from tests.transcoder.strangers.recipes import RECIPES
from tests.waiting import wait_until


def test_two_workers_make_the_same_bytes_as_one_process_without_a_server(
    bench: Bench, film: Path, alone: Files
) -> None:
    course_id, _ = bench.submit(film)

    with bench.worker(), bench.worker():
        job = bench.wait_for(course_id)
        bench.wait_until_quiet()
        bench.wait(lambda: not bench.left_in_scratch(), "scratch space is not empty")

    assert bench.course(course_id) == ("completed", job.master)
    assert bench.lesson(course_id) == alone
    assert job.master
    assert_content_types(bench, job.master)
    assert job.chunks == job.chunks_done == 4
    assert bench.scalar("SELECT max(attempts) FROM transcode_chunks") == 1
    wait_until(lambda: bench.depths().get("default") == 1, message="the statistics are not notified once")


def assert_content_types(bench: Bench, master: str) -> None:
    """Every object has its type, and says that it never changes."""
    reported = {}
    for key in bench.storage.list(master.removesuffix("master.m3u8")):
        answer = bench.storage.client.head_object(Bucket=bench.storage.bucket, Key=key)
        assert answer["CacheControl"] == IMMUTABLE
        reported[key.rpartition(".")[2]] = (answer["ContentType"], answer.get("ContentEncoding", ""))
    assert reported == {
        "m3u8": ("application/vnd.apple.mpegurl", "gzip"),
        "vtt": ("text/vtt; charset=utf-8", "gzip"),
        "m4s": ("video/iso.segment", ""),
        "mp4": ("video/mp4", ""),
        "jpg": ("image/jpeg", ""),
        "mpd": ("application/dash+xml", "gzip"),
    }


def test_an_upload_that_browsers_play_is_shown_at_once_and_replaced_by_the_lesson(bench: Bench, tmp_path: Path) -> None:
    course_id, _ = bench.submit(make_film(tmp_path / "web.mp4", codec="libx264"))

    # the lesson itself is kept back, as if it took an hour
    with bench.worker("transcoder.after_encode=delay:3600"), bench.worker("transcoder.after_encode=delay:3600"):
        bench.wait(lambda: bench.course(course_id)[1], "nothing is shown")
        status, first = bench.course(course_id)
    assert status == "processing"
    assert first
    assert first.endswith("/first/master.m3u8")
    shown = bench.objects(first.removesuffix("master.m3u8"))
    assert {"master.m3u8", "source/media.m3u8", "source/00000.m4s", "sourceaudio/00000.m4s"} <= set(shown)

    with bench.worker():
        job = bench.wait_for(course_id)
    assert bench.course(course_id) == ("completed", job.master)
    assert job.first_shown_at
    assert job.finished_at
    assert bench.objects(first.removesuffix("master.m3u8")) == shown, "who watches the first goes on"


def test_any_other_long_upload_shows_its_first_minute_small(bench: Bench, short_film: Path) -> None:
    course_id, _ = bench.submit(short_film)

    with bench.worker("transcoder.after_encode=delay:3600"), bench.worker("transcoder.after_encode=delay:3600"):
        bench.wait(lambda: bench.course(course_id)[1], "nothing is shown")
    _, first = bench.course(course_id)

    assert first
    shown = bench.objects(first.removesuffix("master.m3u8"))
    assert {name.split("/")[0] for name in shown} == {"master.m3u8", "manifest.mpd", "240p", "audio0"}
    assert "240p/00000.m4s" in shown
    assert "240p/00001.m4s" not in shown, "the first chunk has one segment here"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a recorder that began anew", "a recorder that began anew with 5.1 sound"])
def test_a_recording_in_two_pieces_becomes_the_lesson_that_one_process_makes(
    bench: Bench, name: str, tmp_path: Path
) -> None:
    film = makers.film(next(recipe for recipe in RECIPES if recipe.name == name))
    course_id, _ = bench.submit(film)

    with bench.worker():
        bench.wait_for(course_id)

    assert bench.lesson(course_id) == made_alone(film, tmp_path)
