"""The checker finds what is wrong, and says where."""

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.transcoder.encoding.local_pipeline import Lesson
from services.transcoder.hls.lint.check import check
from services.transcoder.hls.lint.rules import RULES, Level

MASTER, MEDIA, FRAMES, SOUND = "master.m3u8", "480p/media.m3u8", "480p/iframes.m3u8", "audio0/media.m3u8"


@pytest.fixture
def lesson(lesson_of: Callable[[str], Lesson], tmp_path: Path) -> Path:
    """A lesson of three renditions and sound that may be broken."""
    return Path(shutil.copytree(lesson_of("three renditions").folder, tmp_path / "lesson"))


def _broken(folder: Path) -> set[str]:
    report = check(str(folder / MASTER))
    return {finding.rule.source for finding in report.errors} | set(report.unreadable)


def test_there_are_more_than_fifty_rules_and_each_says_something_of_its_own() -> None:
    assert len(RULES) >= 50
    assert len({(rule.source, rule.says) for rule in RULES}) == len(RULES)
    assert sum(rule.level is Level.MUST for rule in RULES) >= 50


def test_a_lesson_of_ours_breaks_no_rule(lesson: Path) -> None:
    assert _broken(lesson) == set()


#: File, what stands there, what is put in its place, and the rule that must notice.
FAULTS = [
    (MASTER, "#EXTM3U", "#EXTM4U", "RFC 8216 4.3.1.1"),
    (MASTER, "#EXT-X-VERSION:7", "#EXT-X-VERSION:7\n#EXT-X-VERSION:7", "RFC 8216 4.3.1.2"),
    (MASTER, "#EXT-X-VERSION:7", "#EXT-X-VERSION:7\n#EXT-X-ENDLIST", "RFC 8216 4.1"),
    (MASTER, ",AVERAGE-BANDWIDTH=", ",AVERAGE_BANDWIDTH=", "Apple 9.14"),
    (MASTER, 'CODECS="avc1.', 'CODECS="avc1.7', "Apple 9.1"),
    (MASTER, "RESOLUTION=640x480", "RESOLUTION=640x482", "Apple 9.2"),
    (MASTER, "FRAME-RATE=25.000", "FRAME-RATE=24.000", "Apple 9.15"),
    (MASTER, "FRAME-RATE=25.000", "FRAME-RATE=75.000", "Apple 1.19"),
    (MASTER, ",FRAME-RATE=25.000", "", "Apple 9.15"),
    (MASTER, 'LANGUAGE="und",', "", "Apple 8.10"),
    (MASTER, 'NAME="Audio 1",', "", "RFC 8216 4.3.4.1"),
    (MASTER, ',AUDIO="audio"', ',AUDIO="other"', "RFC 8216 4.3.4.2"),
    (MASTER, "AUTOSELECT=YES", "AUTOSELECT=NO", "RFC 8216 4.3.4.1"),
    (MASTER, "VIDEO-RANGE=SDR", "VIDEO-RANGE=BIG", "Apple 9.16"),
    (MASTER, "VIDEO-RANGE=SDR", "VIDEO-RANGE=PQ", "Apple 1.24"),
    (MASTER, "BANDWIDTH=", "BANDWIDTH=9", "Apple 1.27"),
    (MASTER, "AVERAGE-BANDWIDTH=", "AVERAGE-BANDWIDTH=1", "Apple 1.26"),
    (MASTER, 'CODECS="', 'CODECS="mp4a.40.2", CODECS="', "RFC 8216 4.2"),
    (MEDIA, "#EXT-X-TARGETDURATION:3", "", "RFC 8216 4.3.3.1"),
    (MEDIA, "#EXT-X-TARGETDURATION:3", "#EXT-X-TARGETDURATION:1", "RFC 8216 4.3.3.1"),
    (MEDIA, "#EXT-X-TARGETDURATION:3", "#EXT-X-TARGETDURATION:4", "Apple 8.2"),
    (MEDIA, "#EXT-X-ENDLIST", "", "RFC 8216 4.3.3.4"),
    (MEDIA, "#EXT-X-PLAYLIST-TYPE:VOD", "", "Apple 8.6"),
    (MEDIA, "#EXTINF:3.000000,", "#EXTINF:2.500000,", "Apple 8.1"),
    (MEDIA, "#EXTINF:3.000000,", "#EXTINF:2.500000,", "Apple 8.3"),
    (MEDIA, "#EXTINF:3.000000,", "", "RFC 8216 4.3.2.1"),
    (MEDIA, '#EXT-X-MAP:URI="init.mp4"', "", "Apple 8.20"),
    (MEDIA, "#EXT-X-VERSION:7", "#EXT-X-VERSION:3", "RFC 8216 7"),
    (MEDIA, "#EXT-X-MAP", "#EXT-X-DISCONTINUITY\n#EXT-X-MAP", "Apple 8.15"),
    (MEDIA, "#EXT-X-MAP", '#EXT-X-KEY:METHOD=AES-128,URI="init.mp4"\n#EXT-X-MAP', "RFC 8216 4.3.2.4"),
    (MEDIA, "#EXT-X-MAP", '#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="k"\n#EXT-X-MAP', "Apple 13.11"),
    (MEDIA, "00000.m4s", "00000.m4s\n#EXTINF:3.0,\n00000.m4s", "RFC 8216 4.3.2.2"),
    (FRAMES, "#EXT-X-I-FRAMES-ONLY", "", "Apple 6.8"),
    (FRAMES, "@24", "@600", "Apple 6.10"),
    (FRAMES, "@24", "@999999999", "RFC 8216 4.3.2.2"),
    (SOUND, "#EXT-X-TARGETDURATION:3", "#EXT-X-TARGETDURATION:6", "Apple 8.2"),
]


@pytest.mark.parametrize(("file", "was", "becomes", "source"), FAULTS)
def test_a_fault_in_a_playlist_is_found(lesson: Path, file: str, was: str, becomes: str, source: str) -> None:
    text = (lesson / file).read_text()
    assert was in text

    (lesson / file).write_text(text.replace(was, becomes))

    assert source in _broken(lesson)


def test_a_segment_that_starts_too_late_is_found(lesson_of: Callable[[str], Lesson], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(lesson_of("very wide").folder, tmp_path / "lesson"))
    media = folder / "240p/media.m3u8"

    media.write_text(media.read_text().replace("#EXTINF:6.000000,\n00000.m4s\n", ""))

    broken = _broken(folder)
    assert {"Apple 8.3", "Apple 8.7"} <= broken


def test_a_damaged_segment_is_found(lesson: Path) -> None:
    segment = lesson / "480p/00000.m4s"
    segment.write_bytes(segment.read_bytes()[:-5000])

    assert not check(str(lesson / MASTER)).passed


def test_a_missing_file_is_named(lesson: Path) -> None:
    (lesson / "360p/00000.m4s").unlink()

    report = check(str(lesson / MASTER))

    assert not report.passed
    assert any("360p/00000.m4s" in reason for reason in report.unreadable)


def test_something_else_than_a_playlist_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>404</html>")

    assert not check(str(tmp_path / "page.html")).passed


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder as S3 serves what we publish: playlists gzipped, with their types."""

    plain = False

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data, playlist = path.read_bytes(), path.suffix == ".m3u8" and not self.plain
        self.send_response(200)
        if playlist:
            data = gzip.compress(data)
            self.send_header("Content-Encoding", "gzip")
        kinds = {".m3u8": "application/vnd.apple.mpegurl", ".mp4": "video/mp4", ".m4s": "video/iso.segment"}
        self.send_header("Content-Type", kinds.get(path.suffix, "text/plain"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


class _PlainHandler(_Handler):
    plain = True


def _served(folder: Path, handler: type[_Handler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{MASTER}"
    server.shutdown()
    server.server_close()


def test_a_lesson_is_checked_over_http(lesson: Path) -> None:
    for address in _served(lesson, _Handler):
        report = check(address)

        assert report.passed, report
        assert {finding.rule.source for finding in report.warnings} <= {"Apple 1.4"}


def test_playlists_that_are_not_compressed_are_found(lesson: Path) -> None:
    for address in _served(lesson, _PlainHandler):
        assert {finding.rule.source for finding in check(address).errors} == {"Apple 10.1"}
