"""The budget notices a folder that grew, on a fast machine and on a slow one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.suite.budget import Row, grown, read_budget, write_budget
from tests.suite.durations import read_durations, write_durations
from tests.suite.summary import Summary

FOLDERS = ("a", "b", "c", "d")
ROOT = Path(__file__).parents[2]


def rows(**cpu_seconds: float) -> list[Row]:
    return [Row(f"tests/{name}/test_one.py", seconds, 2 * seconds) for name, seconds in cpu_seconds.items()]


BUDGET = rows(a=100, b=50, c=40, d=2)


def test_the_same_cost_and_a_cheaper_folder_are_within_the_budget() -> None:
    assert grown(BUDGET, BUDGET) == []
    assert grown(rows(a=60, b=50, c=40, d=2), BUDGET) == []


@pytest.mark.parametrize("speed", [0.6, 1.0, 1.9])
def test_a_folder_that_grew_by_more_than_a_fifth_is_named_on_any_machine(speed: float) -> None:
    slower = rows(a=100 * speed, b=90 * speed, c=40 * speed, d=2 * speed)

    (sentence,) = grown(slower, BUDGET)

    assert sentence.startswith(f"tests/b: {90 * speed:.0f} s of CPU")


def test_a_few_seconds_more_of_a_small_folder_are_noise() -> None:
    assert grown(rows(a=100, b=50, c=40, d=6), BUDGET) == []


def test_a_suite_that_became_slower_everywhere_is_no_slow_machine() -> None:
    assert len(grown(rows(a=300, b=150, c=120, d=2), BUDGET)) == 3


def test_a_new_folder_needs_a_budget_once_it_costs_something() -> None:
    assert grown([*BUDGET, *rows(new=4)], BUDGET) == []
    assert len(grown([*BUDGET, *rows(new=20)], BUDGET)) == 1


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_budget(BUDGET, tmp_path / "budget.tsv")

    assert read_budget(tmp_path / "budget.tsv") == BUDGET


def test_long_groups_are_kept_the_longest_first(tmp_path: Path) -> None:
    write_durations({"a.py::short": 2.0, "a.py::long[x y]": 31.4, "b.py": 50.0}, tmp_path / "durations.tsv")

    assert list(read_durations(tmp_path / "durations.tsv").items()) == [
        ("b.py", 50.0),
        ("a.py::long[x y]", 31.0),
    ]


def test_tests_that_run_in_one_process_take_as_long_as_all_of_them() -> None:
    summary = Summary(SimpleNamespace())  # type: ignore[arg-type]
    for name, group in (("a.py::one", "a.py"), ("a.py::two", "a.py"), ("b.py::one[x]", "b.py::one[x]")):
        nodeid = f"tests/{name}@tests/{group}"
        summary.pytest_runtest_logreport(SimpleNamespace(nodeid=nodeid, duration=20, user_properties=[]))  # type: ignore[arg-type]
    summary.pytest_runtest_logreport(SimpleNamespace(nodeid="tests/c.py::alone", duration=5, user_properties=[]))  # type: ignore[arg-type]

    assert summary.groups == {"tests/a.py": 40, "tests/b.py::one[x]": 20, "tests/c.py::alone": 5}


@pytest.mark.lint  # a renamed test file is noticed within a minute
def test_every_long_group_that_is_named_is_still_there() -> None:
    for name in read_durations():
        place, _, test = name.partition("::")
        assert (ROOT / place).exists(), name
        assert not test or f"def {test.partition('[')[0]}(" in (ROOT / place).read_text(), name
