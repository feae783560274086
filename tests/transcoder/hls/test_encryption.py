"""An encrypted lesson plays with its key, keeps the rules, and discloses nothing without it."""

import http.server
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson, make_lesson
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.hls.encryption import Key
from services.transcoder.hls.lint.check import check
from tests.transcoder.films import QUICK

SECRET = bytes(range(16))


@pytest.fixture
def locked(film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path) -> Lesson:
    key = Key(SECRET, "../key.bin")
    lesson = make_lesson(film("very wide"), tmp_path / "lesson", ffmpeg, recipe=QUICK, jobs=2, key=key)
    (lesson.folder / "key.bin").write_bytes(SECRET)
    return lesson


def test_an_encrypted_lesson_keeps_the_rules(locked: Lesson) -> None:
    report = check(str(locked.folder / "master.m3u8"))

    assert [finding.message for finding in report.errors] == []
    assert report.unreadable == ()


def test_a_player_decrypts_every_picture(locked: Lesson) -> None:
    handler = partial(_Quiet, directory=str(locked.folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/272p/media.m3u8"
        shows = ["-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames"]
        call = ["ffprobe", "-v", "error", *shows, "-of", "csv=p=0", address]
        shown = subprocess.run(call, check=True, capture_output=True, text=True, timeout=60)
        server.shutdown()

    assert set(shown.stdout.split()) == {str(locked.plan.frames)}
    assert shown.stderr == ""


def test_no_clear_byte_of_the_film_is_published(locked: Lesson) -> None:
    for file in locked.folder.rglob("*.m*"):
        if file.suffix in (".mp4", ".m4s"):
            assert not any(word in file.read_bytes() for word in (b"moof", b"moov", b"mdat", b"avcC"))


def test_two_files_are_never_encrypted_alike(locked: Lesson) -> None:
    beginnings = [file.read_bytes()[:16] for file in locked.folder.rglob("*.m4s")]

    # sound and pictures share numbers, and their first bytes; within one rendition every IV differs
    for folder in ("272p", "240p", "audio0"):
        own = [file.read_bytes()[:16] for file in (locked.folder / folder).glob("[0-9]*.m4s")]
        assert len(set(own)) == len(own)
    assert beginnings


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Key(b"short", "key")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return
