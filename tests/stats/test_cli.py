"""`nouba stats` as a person and a program use it: real commands on a small made-up school."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local.postgres import Postgres
from tests.command_line import nouba

NOUBA = Path(sys.executable).with_name("nouba")
ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(migrated_server: Postgres) -> Iterator[Run]:
    """`run("show", "2026-11-01")` on a small school, whose last quarter is computed."""
    administrator = psycopg2.connect(migrated_server.url_of("postgres"))
    administrator.autocommit = True
    # the processes of a test run share one server
    name = f"stats_cli_{uuid.uuid4().hex[:12]}"
    administrator.cursor().execute(f"CREATE DATABASE {name} TEMPLATE migrated")
    settings = {"NOUBA_DATABASE_URL": migrated_server.url_of(name)}

    def run(*arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        done = nouba("stats", *arguments, **settings)
        assert done.returncode == status, done.stderr
        return done

    seed = [str(NOUBA), "stats", "seed", "--size", "small", "--until", "2026-11-01"]
    seeded = subprocess.run(seed, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    assert "rows/s" in seeded.stdout
    assert "already has users" in run("seed", status=1).stderr
    assert "31 days computed, 31 of them new" in run("compute", "2026-10-01", "2026-10-31").stdout
    yield run
    administrator.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    administrator.close()


def shown(run: Run, *arguments: str) -> Any:
    return json.loads(run("show", *arguments, "--json").stdout)


def test_show_without_a_day_shows_the_last_one_with_its_amounts_in_full(run: Run) -> None:
    text = run("show").stdout
    assert "Saturday 31 October 2026" in text
    assert "DZD" in text
    assert shown(run)["day"] == "2026-10-31"
    assert shown(run, "2026-10-05")["sections"]["users"]["numbers"]["total"] > 900


def test_computing_a_day_again_changes_nothing(run: Run) -> None:
    assert "1 days computed, 0 of them new or changed" in run("compute", "2026-10-20").stdout


def test_verify_proves_the_days_and_fails_where_one_is_missing(run: Run) -> None:
    assert "31 days equal a rebuild" in run("verify").stdout
    verdict = json.loads(run("verify", "2026-09-30", "2026-10-02", "--json", status=1).stdout)
    assert verdict == {"days": 3, "missing": ["2026-09-30"], "differing": {}, "due": [], "failed": []}


def test_days_that_are_marked_by_hand_are_due_until_they_are_computed(run: Run) -> None:
    assert "1 days are invalidated" in run("invalidate", "2026-10-07").stdout
    assert "3 days are invalidated" in run("invalidate", "2026-10-07", "2026-10-09").stdout
    # they are equal all the same, and what is equal is not called due
    assert "31 days equal a rebuild" in run("verify").stdout
    assert "4 days computed, 0 of them new" in run("compute", "2026-10-06", "2026-10-09").stdout
    assert "nouba stats invalidate 2026-09-01 2026-09-30" in run("invalidate", "--help").stdout


def test_diff_shows_what_changed_between_two_days(run: Run) -> None:
    found = json.loads(run("compare-days", "2026-10-01", "2026-10-02", "--json").stdout)
    before, after = found["users.total"]
    assert before < after
    assert "users.total" in run("compare-days", "2026-10-01", "2026-10-02").stdout
    assert "the same numbers" in run("compare-days", "2026-10-01", "2026-10-01").stdout


@pytest.mark.parametrize(
    ("arguments", "reported"),
    [
        (("show", "2020-01-01"), "nouba stats compute 2020-01-01"),
        (("show", "01/02/2026"), "write it as 2026-11-23"),
        (("compute", "2999-01-01"), "is not over"),
        (("compute", "2026-10-05", "2026-10-01"), "give the earlier day first"),
        (("invalidate", "2026-10-05", "2026-10-01"), "give the earlier day first"),
        (("invalidate", "2999-01-01"), "is not over"),
        (("compare-days", "2020-01-01", "2026-10-01"), "nouba stats compute 2020-01-01"),
        (("definitions", "payments.profit"), "No number is called"),
    ],
)
def test_a_fault_is_a_sentence_that_says_the_fix(run: Run, arguments: tuple[str, ...], reported: str) -> None:
    done = run(*arguments, status=2 if arguments[1] == "01/02/2026" else 1)
    assert reported in done.stderr
    assert "Traceback" not in done.stderr


def test_every_number_is_explained_and_every_explanation_has_its_number(run: Run) -> None:
    explained = {each["id"]: each for each in json.loads(run("definitions", "--json").stdout)}
    kept = {
        f"{section}.{name}"
        for section, found in shown(run, "2026-10-31")["sections"].items()
        for name in found["numbers"]
    }
    assert kept <= set(explained)
    # what is left out of this day needs something that it does not have
    observed = {name for name, each in explained.items() if each["observed"]}
    assert set(explained) - kept - observed == set()
    assert "A top-up is no sale" in explained["revenue.net"]["definition"]
    assert "revenue.net_to_date" in run("definitions", "revenue.net").stdout


def test_the_reference_page_is_what_the_definitions_say(run: Run) -> None:
    assert run("definitions", "--markdown").stdout == (ROOT / "docs" / "statistics.md").read_text()


def test_a_month_is_closed_once_and_says_so(run: Run) -> None:
    assert "1 months are closed now" in run("close-months", "--through", "2026-10").stdout
    assert "2026-10 is closed already" in run("close-months", "--through", "2026-10").stdout
    assert shown(run, "2026-10-05")["closed"] is True
    assert "closed: what comes later is a correction" in run("show", "2026-10-05").stdout
    assert "write it as 2026-10" in run("close-months", "--through", "October", status=2).stderr
    assert "is not over" in run("close-months", "--through", "2999-01", status=1).stderr
