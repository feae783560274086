"""`make test-all` is red where either half is, shows both, and ends both."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "bin" / "test-all", tmp_path / "bin")
    return tmp_path


def run(copy: Path, *, containers: str, others: str) -> "subprocess.CompletedProcess[str]":
    """The command, with a line of shell in place of each half."""
    for file, line in {"bin/test-containers": containers, ".venv/bin/python": others}.items():
        (copy / file).write_text(f"#!/bin/sh\n{line}\n")
        (copy / file).chmod(0o755)
    command = [str(copy / "bin" / "test-all"), "-k", "money"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("containers", "others", "status"), [(0, 0, 0), (1, 0, 1), (0, 2, 2), (1, 2, 2)])
def test_both_halves_are_shown_and_either_makes_it_red(copy: Path, containers: int, others: int, status: int) -> None:
    reported = run(copy, containers=f"echo of containers; exit {containers}", others=f'echo "$@"; exit {others}')

    assert reported.returncode == status
    # between them it may say that the containers are waited for
    first, *_, last = reported.stdout.splitlines()
    assert (first, last) == ("-m tests.suite all -k money", "of containers")


def test_ctrl_c_ends_the_containers_too_and_waits_for_their_end(copy: Path) -> None:
    begun, ended = copy / "begun", copy / "ended"
    # dash runs a trap once the command in front has ended
    containers = f"trap 'touch {ended}; exit' INT; touch {begun}; while :; do sleep 0.05; done"

    reported = run(copy, containers=containers, others=f"while [ ! -e {begun} ]; do sleep 0.05; done; exit 130")

    assert reported.returncode == 130
    assert ended.exists()
