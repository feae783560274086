"""One ffmpeg is confined, limited, watched, and never outlives us."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.errors import (
    EnvironmentNotReadyError,
    JobCancelledError,
    OutOfSpaceError,
    Reason,
    RejectedInputError,
    StalledError,
    TransientError,
)
from services.transcoder.ffmpeg.diagnosis import diagnose
from services.transcoder.ffmpeg.process import Ffmpeg, Limits, never, run_confined
from services.transcoder.ffmpeg.progress import Progress
from services.transcoder.ffmpeg.sandbox import Confinement

ENDLESS = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=64x48", "-f", "null", "-"]


def _copy(source: str, target: str) -> list[str]:
    return ["-nostdin", "-v", "error", "-y", "-i", source, "-c", "copy", target]


def test_only_the_named_files_can_be_read(film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    source = film("plain 25 pictures a second")

    ffmpeg.encode(_copy(str(source), "copy.mp4"), tmp_path, reads=[source])
    assert (tmp_path / "copy.mp4").stat().st_size > 0

    with pytest.raises(TransientError, match="Permission denied"):
        ffmpeg.encode(_copy(str(source), "other.mp4"), tmp_path)


def test_nothing_is_written_outside_its_folder(film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    source, folder = film("plain 25 pictures a second"), tmp_path / "inside"
    folder.mkdir()

    with pytest.raises(TransientError, match="Permission denied"):
        ffmpeg.encode(_copy(str(source), "../outside.mp4"), folder, reads=[source])

    assert not (tmp_path / "outside.mp4").exists()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "udp://127.0.0.1:9"])
def test_there_is_no_network(address: str, film: Callable[[str], Path], ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    source = film("plain 25 pictures a second")

    with pytest.raises(TransientError, match=r"not permitted|Permission denied"):
        ffmpeg.encode(
            ["-v", "error", "-i", str(source), "-c", "copy", "-f", "mpegts", address], tmp_path, reads=[source]
        )


def test_cancelling_ends_it_within_two_seconds(ffmpeg: Ffmpeg, tmp_path: Path) -> None:
    reported = threading.Event()
    seen: list[Progress] = []

    def note(progress: Progress) -> None:
        seen.append(progress)
        reported.set()

    asked: list[float] = []

    def cancelled() -> bool:
        if reported.is_set() and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    with pytest.raises(JobCancelledError):
        ffmpeg.encode(ENDLESS, tmp_path, on_progress=note, cancelled=cancelled)

    assert time.monotonic() - asked[0] < 2
    assert seen
    assert _running_in(tmp_path) == []


def test_a_time_limit_ends_it(tmp_path: Path) -> None:
    with pytest.raises(StalledError, match="time limit"):
        Ffmpeg(limits=Limits(deadline_seconds=1.0)).encode(ENDLESS, tmp_path)

    assert _running_in(tmp_path) == []


def test_a_stall_ends_it(tmp_path: Path) -> None:
    # at real time, one picture in an hour
    slow = ["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=1/3600", "-f", "null", "-"]

    with pytest.raises(StalledError, match="without progress"):
        Ffmpeg(limits=Limits(stall_seconds=1.5)).encode(slow, tmp_path)

    assert _running_in(tmp_path) == []


def test_memory_is_limited(tmp_path: Path) -> None:
    # `reverse` keeps every picture: 60 of 50 MB
    source = ["-f", "lavfi", "-i", "testsrc2=size=7680x4320:rate=1:duration=60", "-vf", "reverse"]

    with pytest.raises(RejectedInputError) as caught:
        Ffmpeg(limits=Limits(memory_bytes=200_000_000)).encode(
            ["-v", "error", "-xerror", *source, "-f", "null", "-"], tmp_path
        )

    assert caught.value.reason is Reason.TOO_LARGE


def test_the_size_of_a_file_is_limited(tmp_path: Path) -> None:
    raw = ["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=640x360:duration=60", "-f", "rawvideo", "out.raw"]

    with pytest.raises(RejectedInputError) as caught:
        Ffmpeg().encode(raw, tmp_path, file_bytes=5_000_000)

    assert caught.value.reason is Reason.TOO_LARGE
    assert (tmp_path / "out.raw").stat().st_size <= 5_000_000


def test_it_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    # Given a process that runs an endless ffmpeg
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from services.transcoder.ffmpeg.process import Ffmpeg
        Ffmpeg().encode({ENDLESS!r}, Path({str(tmp_path)!r}), on_progress=lambda p: print("running", flush=True))
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "running\n"
    assert len(_running_in(tmp_path)) == 1

    # When it is killed without a word
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    # Then ffmpeg is gone too
    deadline = time.monotonic() + 2
    while _running_in(tmp_path) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert _running_in(tmp_path) == []
    parent.stdout.close()


def test_a_missing_program_is_named_with_its_setting() -> None:
    with pytest.raises(EnvironmentNotReadyError, match="NOUBA_FFPROBE"):
        Ffmpeg(ffprobe="no-such-ffprobe")


@pytest.mark.parametrize(
    ("status", "errors", "kind"),
    [
        (1, "av_interleaved_write_frame(): No space left on device", OutOfSpaceError),
        (1, "moov atom not found", RejectedInputError),
        (1, "Error while decoding stream #0:0: Invalid data found when processing input", RejectedInputError),
        (1, "Decoder (codec xyz) not found for input stream", RejectedInputError),
        (1, "[libx264] malloc of size 12 failed", RejectedInputError),
        (-signal.SIGXFSZ, "", RejectedInputError),
        (-signal.SIGKILL, "", TransientError),
        (1, "something nobody has seen before", TransientError),
    ],
)
def test_faults_of_the_file_are_distinguished_from_faults_of_the_machine(
    status: int, errors: str, kind: type[Exception]
) -> None:
    assert isinstance(diagnose(status, errors), kind)


def _running_in(folder: Path) -> list[int]:
    """The processes whose working folder is `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").readlink() == folder and (entry / "stat").read_text().rpartition(")")[2].split()[
                    0
                ] != "Z":
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_control_characters_of_a_confined_process_are_dropped(tmp_path: Path) -> None:
    # Given a decoder that a film has taken over
    shell = str(Path("/bin/sh").resolve())
    script = r"printf 'a\000b\033]0;owned\007\n\tc\302\233d\r' >&2; exit 3"
    messages: list[str] = []

    # When it writes to standard error
    errors, status = run_confined(
        [shell, "-c", script],
        tmp_path,
        [],
        Limits(),
        Confinement.AVAILABLE,
        on_line=lambda _: False,
        cancelled=never,
        on_message=messages.append,
    )

    # Then only its text remains
    assert status == 3
    assert errors == "ab]0;owned\n\tcd"
    assert messages == ["ab]0;owned"]
