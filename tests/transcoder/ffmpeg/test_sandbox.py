"""Files made to harm are refused: nothing else is read, nobody is called, and memory stays bounded."""

import resource
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import make_lesson
from services.transcoder.errors import Reason, RejectedInputError
from services.transcoder.ffmpeg.process import Ffmpeg
from tests.transcoder.films import QUICK


class Listener:
    """A server that notes whether anybody called."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener()
    yield server
    server.close()


def _make(path: Path, *arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments, str(path)], check=True, capture_output=True, timeout=60)


def _bodies(folder: Path, secret: Path, port: int) -> dict[str, bytes]:
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    picture, subtitles = folder / "made.png", folder / "made.ass"
    _make(picture, "-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1")
    subtitles.write_text("[Script Info]\n[Events]\nDialogue: 0,0:00:00.00,0:00:05.00,Default,,0,0,0,,hello\n")
    return {
        "nothing": b"",
        "text": b"this is a letter, not a lesson\n" * 50,
        "zeros": bytes(100_000),
        "an HLS playlist of a file": hls.format(f"file://{secret}").encode(),
        "an HLS playlist of a relative file": hls.format(secret.name).encode(),
        "an HLS playlist of a server": hls.format(f"http://127.0.0.1:{port}/a.ts").encode(),
        "an HLS playlist with a key on a server": hls.replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/k"\n#EXTINF').format(secret.name).encode(),
        "a concat script": f"ffconcat version 1.0\nfile {secret.name}\n".encode(),
        "a concat script of a server": f"ffconcat version 1.0\nfile http://127.0.0.1:{port}/a.mp4\n".encode(),
        "a concat script with an absolute path": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "SDP": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n".encode(),
        "DASH": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><BaseURL>'
        f"http://127.0.0.1:{port}/</BaseURL><Period><AdaptationSet><Representation id='1' bandwidth='1'><SegmentList>"
        "<SegmentURL media='a'/></SegmentList></Representation></AdaptationSet></Period></MPD>".encode(),
        "an image": picture.read_bytes(),
        "subtitles": subtitles.read_bytes(),
        "an archive": b"PK\x03\x04" + bytes(500),
        "a web page": b"<!doctype html><html><body>video</body></html>",
        "an MP4 head alone": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(5000),
        "a Matroska head alone": b"\x1a\x45\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f" + bytes(5000),
    }  # fmt: skip


NAMES = (
    "nothing", "text", "zeros", "an HLS playlist of a file", "an HLS playlist of a relative file",
    "an HLS playlist of a server", "an HLS playlist with a key on a server", "a concat script",
    "a concat script of a server", "a concat script with an absolute path", "SDP", "DASH", "an image", "subtitles",
    "an archive", "a web page", "an MP4 head alone", "a Matroska head alone",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_body_that_is_no_video_is_refused_unread(
    name: str, film: Callable[[str], Path], ffmpeg: Ffmpeg, listener: Listener, tmp_path: Path
) -> None:
    # Given a body beside a video that is none of its business
    secret = tmp_path / "secret.ts"
    secret.write_bytes(film("MPEG-TS").read_bytes())
    upload = tmp_path / "lesson.mp4"
    upload.write_bytes(_bodies(tmp_path, secret, listener.port)[name])

    # When it is turned into a lesson
    with pytest.raises(RejectedInputError) as caught:
        make_lesson(upload, tmp_path / "out", ffmpeg, recipe=QUICK)

    # Then it is refused with a sentence, nobody was called, and nothing stays
    assert caught.value.reason is (Reason.DAMAGED if name == "an MP4 head alone" else Reason.NOT_A_VIDEO)
    assert str(caught.value).endswith(".")
    assert "ffmpeg" not in str(caught.value)
    assert listener.calls == 0
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".nouba-*"))


def test_a_picture_of_too_many_pixels_is_refused_within_the_memory_limit(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.mp4"
    _make(bomb, "-f", "lavfi", "-i", "color=black:s=8704x8704:r=1:d=1", "-c:v", "libx264", "-preset", "ultrafast",
          "-threads", "1", "-pix_fmt", "yuv420p")  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss

    with pytest.raises(RejectedInputError):
        make_lesson(bomb, tmp_path / "out", ffmpeg, recipe=QUICK)

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak == before or peak * 1024 < 1_200_000_000


def test_two_pictures_twelve_hours_apart_are_refused_without_filling_the_gap(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    bomb = tmp_path / "gap.mkv"
    _make(bomb, "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1:duration=2", "-vf", "setpts=N*43200/TB",
          "-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "ultrafast")  # fmt: skip

    with pytest.raises(RejectedInputError) as caught:
        make_lesson(bomb, tmp_path / "out", ffmpeg, recipe=QUICK)

    assert caught.value.reason in (Reason.TOO_LONG, Reason.DAMAGED)


@pytest.mark.parametrize("kind", ["plain 25 pictures a second", "index in front", "WebM, VP8 and Vorbis"])
def test_a_truncated_upload_is_refused_and_not_published_short(
    kind: str, film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    whole = film(kind)
    cut = tmp_path / f"cut{whole.suffix}"
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])

    with pytest.raises(RejectedInputError) as caught:
        make_lesson(cut, tmp_path / "out", ffmpeg, recipe=QUICK)

    assert caught.value.reason is Reason.DAMAGED
    assert not (tmp_path / "out").exists()


def test_a_picture_damaged_in_the_middle_is_not_published_short(
    film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    data = bytearray(film("index in front").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40_000] = bytes(40_000)
    (tmp_path / "damaged.mp4").write_bytes(data)

    with pytest.raises(RejectedInputError):
        make_lesson(tmp_path / "damaged.mp4", tmp_path / "out", ffmpeg, recipe=QUICK)

    assert not (tmp_path / "out").exists()
