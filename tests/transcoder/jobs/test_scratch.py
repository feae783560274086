"""Scratch space: an upload is fetched once, and nothing is left, no matter which process dies."""

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.transcoder.errors import OutOfSpaceError, Reason, RejectedInputError
from services.transcoder.jobs.scratch import KEPT_UPLOADS, ScratchSpace


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchSpace:
    return ScratchSpace(tmp_path / "scratch", reserve_bytes=0)


def test_an_upload_is_fetched_once_and_the_oldest_yields_to_the_newest(scratch: ScratchSpace) -> None:
    fetched: list[int] = []

    def use(job_id: int) -> None:
        def fetch(folder: Path) -> None:
            fetched.append(job_id)
            (folder / "upload").write_bytes(b"film")

        with scratch.upload(job_id, 4, fetch) as folder:
            assert (folder / "upload").read_bytes() == b"film"

    for job_id in (1, 1, 2, 3, 1, 4, 1, 2):
        use(job_id)
    assert fetched == [1, 2, 3, 4, 2]
    assert len(scratch.kept()) == KEPT_UPLOADS


def test_parts_of_one_lesson_that_begin_at_once_fetch_its_upload_once(scratch: ScratchSpace) -> None:
    fetched: list[int] = []

    def fetch(folder: Path) -> None:
        fetched.append(1)
        time.sleep(0.2)
        (folder / "upload").write_bytes(b"film")

    def use(_: int) -> bytes:
        with scratch.upload(1, 4, fetch) as folder:
            scratch.forget(1)
            return (folder / "upload").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, range(4))) == [b"film"] * 4
    assert fetched == [1]
    scratch.forget(1)
    assert list(scratch.folder.iterdir()) == []


def test_a_fetch_that_fails_leaves_nothing(scratch: ScratchSpace) -> None:
    def fetch(folder: Path) -> None:
        (folder / "upload").write_bytes(b"half a fi")
        raise ConnectionError

    with pytest.raises(ConnectionError), scratch.upload(1, 4, fetch):
        pass
    assert scratch.kept() == []
    assert list(scratch.folder.iterdir()) == []


def test_an_upload_that_does_not_fit_is_not_fetched(tmp_path: Path) -> None:
    scratch = ScratchSpace(tmp_path / "scratch", reserve_bytes=1 << 62)
    with pytest.raises(OutOfSpaceError), scratch.upload(1, 4, lambda _: pytest.fail("it was fetched")):
        pass


def test_an_upload_that_no_room_is_enough_for_is_refused_with_the_sizes(tmp_path: Path) -> None:
    scratch = ScratchSpace(tmp_path / "scratch", reserve_bytes=0)
    with (
        pytest.raises(RejectedInputError, match=r"The file has 5000000\.0 GB, and at most \d") as refused,
        scratch.upload(1, 5_000_000 * 10**9, lambda _: pytest.fail("it was fetched")),
    ):
        pass
    assert refused.value.reason is Reason.TOO_LARGE


def test_an_upload_that_does_not_fit_now_takes_no_other_lessons_place(tmp_path: Path) -> None:
    scratch = ScratchSpace(tmp_path / "scratch", reserve_bytes=0)
    with scratch.upload(1, 4, lambda folder: (folder / "upload").touch()):
        pass
    total, _, free = shutil.disk_usage(tmp_path)
    with (
        pytest.raises(OutOfSpaceError),
        scratch.upload(2, (free + total) // 4, lambda _: pytest.fail("it was fetched")),
    ):
        pass
    assert scratch.kept() == [1]


def test_an_upload_in_use_is_not_forgotten(scratch: ScratchSpace) -> None:
    with scratch.upload(1, 4, lambda folder: (folder / "upload").touch()) as folder:
        scratch.forget(1)
        assert (folder / "upload").exists()
    scratch.forget(1)
    assert scratch.kept() == []


def test_work_that_fails_is_cleaned_up(scratch: ScratchSpace) -> None:
    def fail() -> None:
        with scratch.work() as folder:
            (folder / "segment").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(scratch.folder.iterdir()) == []


def test_the_folder_of_a_dead_worker_is_swept_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    parent = tmp_path / "scratch"
    living = ScratchSpace(parent)
    program = (
        "import os, sys, pathlib; from services.transcoder.jobs.scratch import ScratchSpace;"
        "s = ScratchSpace(pathlib.Path(sys.argv[1])); (s.folder / 'left').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(parent)], check=False, cwd=Path(__file__).parents[3])
    assert len(list(parent.iterdir())) == 2
    newest = ScratchSpace(parent)
    assert set(parent.iterdir()) == {living.folder, newest.folder}
    living.close()
    newest.close()
    assert list(parent.iterdir()) == []
