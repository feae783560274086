"""`make test` says what it ran and what it left, finds a part by its name, and ends its servers whatever ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from _pytest.mark.expression import Expression

from local.daemon import MARK
from tests.suite.__main__ import command, parts
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
CONFTEST = (ROOT / "tests" / "conftest.py").read_text()
#: A shell that runs these tests in the background has its children ignore Ctrl-C.
PYTEST = """
import signal, sys, pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(pytest.main(sys.argv[1:]))
"""
SAMPLE = """
import time
import pytest

def test_a_database(database_url): assert database_url
def test_a_queue(rabbitmq_url): assert rabbitmq_url

@pytest.mark.slow
def test_for_later(): raise AssertionError

@pytest.mark.nightly
def test_for_the_night(): raise AssertionError

@pytest.mark.lint
def test_for_check(): raise AssertionError
"""
SHARED = """
import os
import pytest

@pytest.fixture(scope="module")
def process(): return os.getpid()

seen = []

@pytest.mark.parametrize("number", range(20))
def test_numbers(process, number):
    seen.append(number)
    assert seen == list(range(number + 1))
"""


def test_a_part_is_a_folder_wherever_it_is() -> None:
    assert [str(folder.relative_to(ROOT)) for folder in parts()["psp"]] == ["tests/local/psp"]
    assert "tests/local/psp" in command("quick", "psp", [])
    assert command("quick", "", ["-k", "ledger"])[-2:] == ["-k", "ledger"]


def test_an_unknown_part_is_a_sentence_that_names_all_parts() -> None:
    reported = subprocess.run(
        [sys.executable, "-m", "tests.suite", "quick", "--part", "nonsense"], cwd=ROOT, capture_output=True, text=True
    )

    assert reported.returncode == 2
    assert "There is no part 'nonsense'. PART is one of: " in reported.stderr
    assert "contracts" in reported.stderr
    assert "Traceback" not in reported.stderr


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A folder with five tests and the project's fixtures."""
    folder = tmp_path / "tests" / "sample"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--strict-markers'\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_sample.py").write_text(SAMPLE)
    return folder


def selected(selection: str) -> list[str]:
    """The arguments of pytest that select the tests of a command."""
    line = command(selection, "", [])
    # the first -m is Python's
    at = line.index("-m", 3)
    return line[at : at + 2]


@pytest.mark.parametrize(
    ("marker", "commands"),
    [("", ["quick", "all"]), ("slow", ["all"]), ("nightly", ["nightly"]), ("lint", ["lint"])],
)
def test_a_marker_says_which_commands_run_a_test(marker: str, commands: list[str]) -> None:
    def is_marked(name: str, /, **_: object) -> bool:
        return name == marker

    found = [
        one for one in ("quick", "all", "nightly", "lint") if Expression.compile(selected(one)[1]).evaluate(is_marked)
    ]
    assert found == commands


def start(sample: Path) -> "subprocess.Popen[str]":
    arguments = ["-n", "2", "--dist", "loadgroup", *selected("quick"), "tests/sample"]
    return subprocess.Popen(
        [sys.executable, "-c", PYTEST, *arguments],
        cwd=sample.parents[1],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(sample.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_tests_that_share_a_fixture_of_their_module_run_in_one_process(sample: Path) -> None:
    (sample / "test_sample.py").write_text(SHARED)

    process = start(sample)
    reported, _ = process.communicate(timeout=120)

    assert process.returncode == 0, reported


def servers_of(sample: Path) -> list[psutil.Process]:
    """Every process that was started in the folder of this run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(str(sample.parents[1])):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_a_run_says_what_it_ran_and_what_it_left_to_whom_and_leaves_no_server(sample: Path) -> None:
    process = start(sample)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 0, output
    assert "Ran 2 tests" in output
    assert "Left to `make test-all`: 1 tests" in output
    assert "Left to `make test-nightly`: 1 tests" in output
    assert "Left to `make check`: 1 tests" in output
    assert "tests/sample/test_sample.py::test_a_database" in output.split("The slowest:")[1]
    assert servers_of(sample) == []
    assert list(sample.parents[1].glob("nouba-tests-*")) == []


@pytest.mark.parametrize("kind", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_leaves_no_server(sample: Path, kind: signal.Signals) -> None:
    (sample / "test_sample.py").write_text(
        "import time\nfrom pathlib import Path\n\n\n"
        "def test_long(database_url, rabbitmq_url):\n    Path('reached').touch()\n    time.sleep(600)\n"
    )
    process = start(sample)
    try:
        wait_until((sample.parents[1] / "reached").exists, 90)
        assert servers_of(sample)
        # Ctrl-C reaches the workers too; SIGTERM only the process that the user started
        if kind is signal.SIGINT:
            os.killpg(process.pid, kind)
        else:
            process.send_signal(kind)
        process.communicate(timeout=60)

        assert servers_of(sample) == []
        assert list(sample.parents[1].glob("nouba-tests-*")) == []
    finally:
        process.kill()
