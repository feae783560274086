"""Servers in memory: only where the machine has it to spare, and never longer than their run."""

import fcntl
from pathlib import Path

import pytest

from tests.suite.run_folder import _destroy_orphans, _fast_folder

PLENTY = "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n"


@pytest.fixture(autouse=True)
def no_tmpdir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)


def meminfo(tmp_path: Path, text: str) -> Path:
    (tmp_path / "meminfo").write_text(text)
    return tmp_path / "meminfo"


def test_a_machine_with_little_memory_left_uses_its_disk(tmp_path: Path) -> None:
    (tmp_path / "shm").mkdir()
    little = PLENTY.replace("16777216", "2097152")

    assert _fast_folder(tmp_path / "shm", meminfo(tmp_path, PLENTY)) == tmp_path / "shm"
    assert _fast_folder(tmp_path / "shm", meminfo(tmp_path, little)) is None
    assert _fast_folder(tmp_path / "none", meminfo(tmp_path, PLENTY)) is None


def test_what_a_killed_run_left_goes_and_a_living_ones_stays(tmp_path: Path) -> None:
    for name in ("killed", "living"):
        (tmp_path / f"nouba-tests-{name}").mkdir()
        (tmp_path / f"nouba-tests-{name}" / "owner.lock").touch()

    with (tmp_path / "nouba-tests-living" / "owner.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _destroy_orphans(tmp_path)

    assert [folder.name for folder in tmp_path.iterdir()] == ["nouba-tests-living"]
