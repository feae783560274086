"""What a hostile server can make lint take in all: a real server that sends more and more, and never the same."""

import contextlib
import itertools
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.transcoder.hls.lint.check import check
from services.transcoder.hls.lint.limits import LimitError, Limits, enforced
from services.transcoder.hls.lint.m3u8 import Playlist
from services.transcoder.hls.mp4 import Mp4Error, fragments
from tests.variations import variations

#: By its path, the body that a server answers; None for 404.
Body = Callable[[str], bytes | None]
Serve = Callable[..., str]
NOUBA = Path(sys.executable).with_name("nouba")

VARIANT = '#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1,CODECS="avc1.640028",AUDIO="a"\n{}\n'
SEGMENT = "#EXTINF:1.0,\n{}\n"


def playlist(lines: str) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n".encode()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers at 127.0.0.1; their addresses."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: Body, headers: Sequence[tuple[str, str]] = ()) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = body(self.path)
                self.send_response(404 if answer is None else 200)
                self.send_header("Content-Length", str(len(answer or b"")))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                # a client that gives up closes its connection
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(answer or b"")

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/master.m3u8"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def tree(path: str) -> bytes | None:
    """A master of very many variants, each of very many segments: about ten million files."""
    if path == "/master.m3u8":
        return playlist("".join(VARIANT.format(f"v{number}.m3u8") for number in range(3000)))
    if path.endswith(".m3u8"):
        return playlist("".join(SEGMENT.format(f"{path[1:]}-{number}.m4s") for number in range(3000)))
    return bytes(1000)


def test_a_lesson_of_too_many_files_is_given_up(serve: Serve) -> None:
    # Given a server whose tree has no end
    asked = itertools.count()

    def counted(path: str) -> bytes | None:
        next(asked)
        return tree(path)

    # When it is checked, then no more files are asked for than the limit
    report = check(serve(counted), limits=Limits(files=50))

    assert not report.passed
    assert "more than 50 files" in report.unreadable[-1]
    assert "--max-files" in report.unreadable[-1]
    assert next(asked) == 50


def media_of(**bodies: bytes) -> Body:
    """A lesson of one variant, v.m3u8."""
    answers = {"/master.m3u8": playlist(VARIANT.format("v.m3u8"))}
    return lambda path: answers.get(path) or bodies.get(re.sub(r"[-0-9]|\W", "", path.partition(".")[0]))


def moof(runs: int) -> bytes:
    """A fragment that says of each run that it has 90,000 samples, in 12 bytes."""

    def box(kind: bytes, body: bytes) -> bytes:
        return (len(body) + 8).to_bytes(4, "big") + kind + body

    run = box(b"trun", bytes(4) + (90_000).to_bytes(4, "big"))
    header = box(b"tfhd", bytes(4) + (1).to_bytes(4, "big")) + box(b"tfdt", bytes(8))
    return box(b"moof", box(b"traf", header + run * runs))


KEY = '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x' + "0" * 32 + "\n"
#: What fills the memory, though each file is small: by the name of the way.
GROWING = {
    "segments": media_of(v=playlist("".join(SEGMENT.format(f"s{n}.m4s") for n in range(500))), s=bytes(1 << 20)),
    "one segment, sliced again and again": media_of(
        v=playlist("".join(f"#EXT-X-BYTERANGE:1000000@0\n{SEGMENT.format('s.m4s')}" for _ in range(500))),
        s=(1_000_000).to_bytes(4, "big") + b"mdat" + bytes(1 << 20),
    ),
    "lines of a playlist": media_of(v=playlist("#EXT\n" * 1_000_000)),
    "one character of four bytes a line": media_of(v=playlist("\U0001f600\n" * 1_000_000)),
    "attributes of a line": media_of(v=playlist("#EXT-X-MAP:" + ",".join(f"A{n}=1" for n in range(1_000_000)) + "\n")),
    "samples that take no bytes": media_of(
        v=playlist("".join(SEGMENT.format(f"s{n}.m4s") for n in range(20))), s=moof(1) * 100
    ),
    "an encrypted map": media_of(
        v=playlist(KEY + '#EXT-X-MAP:URI="m.mp4"\n' + SEGMENT.format("s.m4s")), k=bytes(16), m=bytes(40 << 20)
    ),
    "an encrypted segment": media_of(v=playlist(KEY + SEGMENT.format("s.m4s")), k=bytes(16), s=bytes(40 << 20)),
}


def lint(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: its memory is limited as a whole."""
    return subprocess.run(
        [NOUBA, "transcoder", "lint", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("way", variations(GROWING, ["segments", "lines of a playlist", "an encrypted segment"]))
def test_memory_is_bounded_in_all(serve: Serve, way: str) -> None:
    found = lint(serve(GROWING[way]), "--max-mib", "48", "--max-seconds", "60")

    # the process lives, and names the option
    assert found.returncode == 1, found.stderr
    assert "more than 48 MiB of memory" in found.stdout
    assert "--max-mib" in found.stdout
    assert found.stderr == ""


def test_headers_count_as_memory(serve: Serve) -> None:
    # Given playlists of a few bytes whose answers have 95 kB of headers each
    master = playlist("".join(VARIANT.format(f"v{number}.m3u8") for number in range(400)))
    headers = [(f"X-{number}", "h" * 1000) for number in range(95)]
    address = serve(lambda path: master if path == "/master.m3u8" else playlist(""), headers)

    found = lint(address, "--max-mib", "16", "--max-seconds", "60")

    assert found.returncode == 1, found.stderr
    assert "more than 16 MiB of memory" in found.stdout
    assert found.stderr == ""


def test_a_playlist_of_more_than_16_mib_is_refused(serve: Serve) -> None:
    report = check(serve(media_of(v=b"#EXTM3U\n" + b"\n" * (16 << 20))))

    assert any("is larger than 16 MiB" in reason for reason in report.unreadable)


def test_limits_end_with_the_block() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)

    with enforced(Limits(mib=64)):
        assert resource.getrlimit(resource.RLIMIT_DATA) != before
        # a child sets a limit of its own, as the confined ffmpeg does
        own = (300 << 20, 300 << 20)
        call = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, {own}); bytes(200 << 20)"
        assert subprocess.run([sys.executable, "-c", call], check=False, timeout=60).returncode == 0
        with pytest.raises(MemoryError):
            bytes(100 << 20)

    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with enforced(None):
        assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_second_alarm_does_not_interrupt_the_cleanup() -> None:
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    with enforced(Limits(seconds=60)):
        give_up = signal.getsignal(signal.SIGALRM)
        assert callable(give_up)
        with pytest.raises(LimitError):
            signal.raise_signal(signal.SIGALRM)

    # the next alarm, had it come during the cleanup
    give_up(signal.SIGALRM, None)
    assert signal.getsignal(signal.SIGALRM) is handler
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (timer[0] > 0)


def test_a_fragment_of_too_many_samples_is_refused() -> None:
    assert len(fragments(moof(1))[0].samples) == 90_000
    with pytest.raises(Mp4Error, match="too many samples"):
        fragments(moof(10_000))


@pytest.mark.parametrize(
    "way", ["an endless trickle of segments", pytest.param("work for hours", marks=pytest.mark.slow)]
)
def test_time_is_bounded_in_all(serve: Serve, way: str) -> None:
    # Given a server that answers each file just in time, or a playlist that takes each of its lines with each other
    def trickle(path: str) -> bytes | None:
        time.sleep(0 if path == "/master.m3u8" else 0.2)
        return tree(path)

    maps = '#EXT-X-MAP:URI="i"\n#EXT-X-KEY:METHOD=NONE\n' * 100_000
    address = serve(trickle if way.startswith("an endless") else media_of(v=playlist(maps)))

    # When it is checked from the command line
    began = time.monotonic()
    found = lint(address, "--max-seconds", "3")

    # Then it ends, and says so
    assert time.monotonic() - began < 60
    assert found.returncode == 1, found.stderr
    assert "took longer than 3 s" in found.stdout
    assert "--max-seconds" in found.stdout
    assert "Traceback" not in found.stderr


def test_the_alarm_of_a_caller_goes_on(serve: Serve) -> None:
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)

    check(serve(lambda _: None))

    assert signal.getsignal(signal.SIGALRM) is handler
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) == (timer[0] > 0)


def test_a_folder_has_no_limit(tmp_path: Path) -> None:
    (tmp_path / "master.m3u8").write_bytes(playlist(VARIANT.format("v.m3u8")))
    (tmp_path / "v.m3u8").write_bytes(playlist("#EXT\n" * 10_000))

    report = check(str(tmp_path / "master.m3u8"), limits=Limits(mib=1, files=1))

    assert not any("--max" in reason for reason in report.unreadable)


def test_a_long_line_is_read_in_linear_time() -> None:
    # Given lines that a search tried again from each of their letters
    began = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for value in ("A" * 4_000_000, 'A="' + "B" * 4_000_000, "A=" * 2_000_000 + " "):
        assert Playlist.parse("x", f"#EXT-X-MEDIA:{value}").lines[0].attributes == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - began < 10


@pytest.mark.parametrize(
    "body",
    [
        playlist("#EXTINF:" + "9" * 4000 + ",\ns.m4s\n"),
        playlist('#EXT-X-MAP:URI="s.m4s"\n' + SEGMENT.format("s.m4s")),
        playlist(SEGMENT.format("\x1b]0;owned\x07\x9b2J\u202e" + "x" * 100_000)),
    ],
    ids=["a duration of 4,000 digits", "an initialisation that is cut off", "a name that moves the cursor"],
)
def test_what_a_broken_lesson_says_is_a_sentence(serve: Serve, body: bytes) -> None:
    report = check(serve(media_of(v=body, s=b"\0\0\0\x09moov\0")))

    said = [*report.unreadable, *(finding.message for finding in report.findings)]
    assert said
    assert all(one.isprintable() and len(one) < 1100 for one in said)
