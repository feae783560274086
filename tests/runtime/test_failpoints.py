"""Failpoints do nothing unless the environment names them, and then exactly what it says."""

import signal
import subprocess
import sys

import pytest

from shared.runtime.failpoints import FailpointError, failpoint, hits, parse

PASS_THREE_TIMES = """
from shared.runtime.failpoints import FailpointError, failpoint, hits
for _ in range(3):
    try:
        failpoint("here")
        print("passed")
    except FailpointError:
        print("failed")
print(hits())
"""


def passing(value: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PASS_THREE_TIMES], env={"NOUBA_FAILPOINTS": value}, capture_output=True, text=True
    )


def test_an_unnamed_failpoint_does_nothing() -> None:
    failpoint("nobody.named.this")
    assert hits() == {}


def test_raise_with_a_count_fails_only_so_often() -> None:
    assert passing("here=raise*2").stdout.split("\n")[:4] == ["failed", "failed", "passed", "{'here': 3}"]


def test_kill_ends_the_process_as_kill_9_does_and_says_so_before() -> None:
    result = passing("elsewhere=raise; here=kill")
    assert result.returncode == -signal.SIGKILL
    assert "failpoint here: kill" in result.stderr


def test_delay_waits_and_goes_on() -> None:
    parse("here=delay:0.001")["here"].run("here")


def test_raise_is_an_error_of_its_own() -> None:
    with pytest.raises(FailpointError, match="here"):
        parse("here=raise")["here"].run("here")


@pytest.mark.parametrize("value", ["here", "here=burn", "here=kill:3", "here=delay", "here=raise*many", "a=b=c"])
def test_a_value_of_another_form_is_refused_with_the_right_one(value: str) -> None:
    with pytest.raises(ValueError, match=r"place=action; actions are kill, raise, delay:seconds"):
        parse(value)
