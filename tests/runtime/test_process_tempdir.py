"""What a killed process leaves is swept by the next; what belongs to somebody who lives is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from shared.runtime.process_tempdir import ProcessTempDir
from tests.waiting import wait_until

PREFIX = "nouba-test-"
#: Makes its folder, forks a child that lives on, reports the child's id and is killed.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from shared.runtime.process_tempdir import ProcessTempDir

own = ProcessTempDir(sys.argv[1], Path(sys.argv[2]))
(own.path / "left").touch()
if sys.argv[3] == "fork":
    child = os.fork()
    if child == 0:
        os.closerange(0, 3)
        time.sleep(60)
    print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_an_owner(parent: Path, how: str = "alone") -> str:
    """What it printed."""
    program = [sys.executable, "-c", KILLED, PREFIX, str(parent), how]
    result = subprocess.run(program, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr
    return result.stdout


def test_the_folder_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    living = ProcessTempDir(PREFIX, tmp_path)
    kill_an_owner(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2

    newest = ProcessTempDir(PREFIX, tmp_path)

    assert set(tmp_path.iterdir()) == {living.path, newest.path}
    living.remove()
    newest.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_the_killed_one_has_forked_keeps_the_folder_while_it_lives(tmp_path: Path) -> None:
    # Given
    child = int(kill_an_owner(tmp_path, "fork"))
    (left,) = tmp_path.iterdir()
    try:
        # When
        ProcessTempDir(PREFIX, tmp_path).remove()

        # Then
        assert (left / "left").exists()
    finally:
        os.kill(child, signal.SIGKILL)

    def is_swept() -> bool:
        ProcessTempDir(PREFIX, tmp_path).remove()
        return not left.exists()

    wait_until(is_swept)


def test_what_a_link_leads_to_and_folders_of_other_names_are_left_alone(tmp_path: Path) -> None:
    elsewhere, other = tmp_path / "elsewhere", tmp_path / "nouba-other-1"
    for folder in (elsewhere, other):
        folder.mkdir()
        (folder / "kept").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(elsewhere)

    ProcessTempDir(PREFIX, tmp_path).remove()

    assert (elsewhere / "kept").exists()
    assert (other / "kept").exists()
