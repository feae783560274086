"""Nothing that a taken-over ffmpeg leaves in its folder is published, and nothing of it blocks the worker.

The programs here do what a decoder exploit would do: they run inside the sandbox, in place of ffmpeg.
"""

import ast
import json
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.encoding.encode import encode_audio, encode_chunk
from services.transcoder.encoding.thumbnails import make_stills
from services.transcoder.errors import TransientError, WrongOutputError
from services.transcoder.ffmpeg import sandbox, untrusted_outputs
from services.transcoder.ffmpeg.process import Ffmpeg, Limits
from services.transcoder.ffmpeg.sandbox import ConfinementError, socket_filter
from services.transcoder.ffmpeg.untrusted_outputs import (
    INITIALISATION,
    JPEG,
    MATROSKA,
    check_output,
    read_output,
    read_regular,
)
from services.transcoder.inspection.inspect_and_rewrap import prepare
from services.transcoder.planning.plan import make_plan
from tests.transcoder.films import QUICK

#: The sandbox lets programs run that are below /usr.
PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin")


def _program(folder: Path, body: str) -> str:
    """An executable that runs `body` in place of ffmpeg, with the true ffmpeg's path as FFMPEG."""
    path = folder / "ffmpeg"
    head = f"#!{PYTHON} -IS\nimport os, sys, time\nFFMPEG = {shutil.which('ffmpeg')!r}\n"
    path.write_text(head + textwrap.dedent(body))
    path.chmod(0o755)
    return str(path)


def _taken_over(folder: Path, body: str, **limits: float) -> Ffmpeg:
    return Ffmpeg(_program(folder, body), limits=Limits(**limits))  # type: ignore[arg-type]


LINK = """
    for name in ("poster.jpg", "storyboard_000.jpg"):
        os.symlink("/proc/self/environ", name)
"""
FIFO = """
    for name in ("poster.jpg", "storyboard_000.jpg"):
        os.mkfifo(name)
"""
HARD_LINK = """
    with open("made", "wb") as file:
        file.write(b"\\xff\\xd8\\xff")
    for name in ("poster.jpg", "storyboard_000.jpg"):
        os.link("made", name)
"""
FOREIGN = """
    for name in ("poster.jpg", "storyboard_000.jpg"):
        with open(name, "wb") as file:
            file.write(b"AWS_SECRET_ACCESS_KEY=...")
"""


@pytest.mark.parametrize("body", [LINK, FIFO, HARD_LINK, FOREIGN], ids=["link", "FIFO", "hard link", "foreign"])
def test_a_poster_that_is_no_picture_is_not_published(
    body: str, film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    # Given a plan, and a program in place of ffmpeg that leaves a trap where the poster belongs
    source = film("plain 25 pictures a second")
    scratch, out, programs = tmp_path / "scratch", tmp_path / "out", tmp_path / "programs"
    for folder in (scratch, out, programs):
        folder.mkdir()
    prepared = prepare(source, scratch, ffmpeg, QUICK)
    plan = make_plan(prepared.source, prepared.sha256, ffmpeg.build, QUICK)

    # When the stills are made
    with pytest.raises(TransientError):
        make_stills(plan, prepared.path, out, _taken_over(programs, body))

    # Then there is no poster
    assert list(out.iterdir()) == []


def test_a_fifo_in_place_of_an_initialisation_does_not_block(
    film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    source = film("plain 25 pictures a second")
    scratch, programs = tmp_path / "scratch", tmp_path / "programs"
    scratch.mkdir()
    programs.mkdir()
    prepared = prepare(source, scratch, ffmpeg, QUICK)
    plan = make_plan(prepared.source, prepared.sha256, ffmpeg.build, QUICK)
    body = """
        import subprocess
        status = subprocess.call([FFMPEG, *sys.argv[1:]])
        for name in os.listdir("."):
            if name.startswith("init"):
                os.unlink(name)
                os.mkfifo(name)
        sys.exit(status)
    """

    started = time.monotonic()
    with pytest.raises(TransientError):
        encode_chunk(plan, plan.chunks[0], prepared.path, tmp_path / "out", _taken_over(programs, body))
    assert time.monotonic() - started < 60


def test_decoded_sound_that_is_no_matroska_file_is_not_read(
    film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    source = film("plain 25 pictures a second")
    scratch, programs = tmp_path / "scratch", tmp_path / "programs"
    scratch.mkdir()
    programs.mkdir()
    prepared = prepare(source, scratch, ffmpeg, QUICK)
    plan = make_plan(prepared.source, prepared.sha256, ffmpeg.build, QUICK)
    # the first attempt fails, the decoder leaves a trap
    body = """
        if "sound.mkv" not in sys.argv:
            sys.exit("channel element 1.0 is not allocated")
        with open("sound.mkv", "wb") as file:
            file.write(b"#EXTM3U")
        for number in range(400):
            print(f"[ashowinfo] pts_time:{number * 1024 / 48000}", file=sys.stderr)
    """

    with pytest.raises(TransientError) as caught:
        encode_audio(plan, plan.sounds[0], prepared.path, tmp_path / "out", _taken_over(programs, body))

    assert isinstance(caught.value.__cause__, WrongOutputError)


def test_a_rewrapped_upload_that_is_a_link_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x1a\x45\xdf\xa3" + bytes(20))
    (tmp_path / "source.mkv").symlink_to(secret)

    # the next ffmpeg would be granted the file that the link points to
    with pytest.raises(WrongOutputError):
        check_output(tmp_path / "source.mkv", MATROSKA)


@pytest.mark.parametrize("read", [lambda path: read_output(path, JPEG), read_regular], ids=["output", "scratch"])
@pytest.mark.parametrize("trap", ["link", "FIFO", "folder", "device"])
def test_only_a_regular_file_is_read(trap: str, read: Callable[[Path], bytes], tmp_path: Path) -> None:
    path, target = tmp_path / "poster.jpg", tmp_path / "target"
    target.write_bytes(b"\xff\xd8\xff secret")
    traps: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(target),
        "FIFO": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
    }
    traps[trap]()

    with pytest.raises(WrongOutputError):
        read(path)


def test_a_file_of_another_format_or_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "init.mp4"
    path.write_bytes(b"\x00\x00\x00\x18ftypiso5" + bytes(12))
    assert read_output(path, INITIALISATION)

    path.write_bytes(b"\x00\x00\x00\x18moovxxxx" + bytes(12))
    with pytest.raises(WrongOutputError, match="another format"):
        read_output(path, INITIALISATION)

    with path.open("wb") as file:
        file.write(b"\x00\x00\x00\x18ftyp")
        file.truncate(untrusted_outputs.INITIALISATION.max_bytes + 1)
    with pytest.raises(WrongOutputError, match="larger"):
        read_output(path, INITIALISATION)


@pytest.mark.parametrize(
    "what", ["/proc/{parent}/environ", "/proc/{parent}/mem", "/proc/self/environ", "/proc/1/cmdline"]
)
def test_a_taken_over_process_reads_no_processes(what: str, tmp_path: Path) -> None:
    body = f"""
        path = {what!r}.format(parent=os.getppid())
        try:
            open(path, "rb").read(1)
        except PermissionError:
            sys.exit(0)
        sys.exit(7)
    """
    folder = tmp_path / "work"
    folder.mkdir()

    _taken_over(tmp_path, body).encode([], folder)


def test_a_taken_over_process_has_no_environment_and_no_open_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a worker with a secret and an open file
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    (tmp_path / "kept").write_text("s3cret")
    folder = tmp_path / "work"
    folder.mkdir()
    body = """
        inherited = []
        for number in range(3, 256):
            try:
                os.fstat(number)
            except OSError:
                continue
            inherited.append(number)
        with open("seen", "w") as file:
            file.write(repr((sorted(os.environ), inherited)))
    """

    # When a program runs in place of ffmpeg
    with (tmp_path / "kept").open() as kept:
        os.set_inheritable(kept.fileno(), True)
        _taken_over(tmp_path, body).encode([], folder)

    # Then it has neither; the interpreter holds its own script, if anything
    names, inherited = ast.literal_eval((folder / "seen").read_text())
    assert names == ["LC_ALL", "MALLOC_ARENA_MAX", "PATH"]
    assert len(inherited) <= 1


def test_a_process_that_closes_its_streams_and_stays_is_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    body = """
        for number in (1, 2):
            os.close(number)
        time.sleep(600)
    """

    started = time.monotonic()
    with pytest.raises(TransientError, match="without progress"):
        _taken_over(tmp_path, body, stall_seconds=1.0).encode([], folder)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("escape", ["os.setsid()", "os.setpgid(0, 0)"])
def test_no_child_outlives_it(escape: str, tmp_path: Path) -> None:
    # Given a program that leaves a child behind, in a group of its own if the kernel lets it
    folder = tmp_path / "work"
    folder.mkdir()
    body = f"""
        if os.fork() == 0:
            try:
                {escape}
            except PermissionError:
                pass
            time.sleep(600)
        with open("ended", "w"):
            pass
    """

    # When it has ended
    _taken_over(tmp_path, body).encode([], folder)

    # Then its child has, too
    assert (folder / "ended").exists()
    deadline = time.monotonic() + 2
    while _running_in(folder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _running_in(folder) == []


def test_a_processor_without_a_socket_filter_is_refused() -> None:
    assert len(socket_filter("x86_64")) == len(socket_filter("aarch64"))
    with pytest.raises(ConfinementError, match="riscv64"):
        socket_filter("riscv64")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="setarch can name another machine on x86-64 alone")
def test_required_does_not_start_where_the_filter_is_missing(tmp_path: Path) -> None:
    # setarch makes uname say i686, for which there is no filter
    def run(confinement: str) -> subprocess.CompletedProcess[str]:
        spec = {
            "parent": os.getpid(),
            "confinement": confinement,
            "read": [],
            "write": [str(tmp_path)],
            "memory_bytes": 1 << 30,
            "file_bytes": 1 << 20,
            "cpu_seconds": 10,
            "open_files": 64,
        }
        call = ["setarch", "i686", sys.executable, "-I", "-S", sandbox.__file__, json.dumps(spec), "/bin/echo", "ran"]
        return subprocess.run(call, capture_output=True, text=True, check=False, timeout=30)

    refused = run("required")
    assert refused.returncode == sandbox.NOT_STARTED
    assert "no socket filter" in refused.stderr
    assert refused.stdout == ""
    assert run("available").stdout == "ran\n"


def _running_in(folder: Path) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and (process / "stat").read_text().rpartition(")")[2][1] != "Z":
                found.append(int(process.name))
        except OSError:
            continue
    return found
