"""`nouba dead` shows and decides what it is asked for, and no more."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from shared.cli import main
from shared.operations.audit_log import list_entries
from shared.operations.dead_letters.queries import DeadFilter, list_dead
from tests.operations.dead_letters.test_replay import bury


@pytest.fixture
def settings(database_url: str) -> dict[str, str]:
    return {"NOUBA_DATABASE_URL": database_url, "COLUMNS": "200"}


def nouba(settings: dict[str, str], *arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(main, ["dead", *arguments], env=settings)
    assert result.exit_code == status, result.output
    return result.output


def reported(settings: dict[str, str], *arguments: str, status: int = 0) -> dict[str, object]:
    answer = json.loads(nouba(settings, *arguments, "--json", status=status).splitlines()[0])
    assert isinstance(answer, dict)
    return answer


def states(engine: Engine) -> list[str]:
    return [letter.state for letter in reversed(list_dead(engine, DeadFilter(state=None)))]


def test_what_died_is_listed_and_shown_without_its_body_unless_asked(engine: Engine, settings: dict[str, str]) -> None:
    bury(engine, 17, error="OSError: [away]")
    [letter] = list_dead(engine, DeadFilter())
    assert "OSError: [away]" in nouba(settings, "list", "--since", "2h", "--queue", "webhooks")
    assert reported(settings, "list")["count"] == 1
    assert "No dead letters" in nouba(settings, "list", "--actor", "another")
    shown = nouba(settings, "show", str(letter.id))
    assert '{"event_id": 17}' in shown
    assert "message_timestamp" not in shown
    assert "message_timestamp" in nouba(settings, "show", str(letter.id), "--body")
    assert "There is no dead letter" in nouba(settings, "show", "4711", status=1)


@pytest.mark.parametrize("words", ["[/x]", "[red]x[/red]", r"\[/x]", "[x\\", ":skull: [link=x]", "[@click=x]"])
def test_what_strangers_wrote_is_listed_as_it_is(engine: Engine, settings: dict[str, str], words: str) -> None:
    bury(engine, 1, actor=f"a{words}", cause=f"c{words}", error=f"e{words}")
    listed = nouba(settings, "list")
    assert all(f"{column}{words} " in listed for column in "ac")
    assert f"e{words}" in listed
    assert f"e{words}" in nouba(settings, "replay", "--all", "--dry-run")


def test_what_strangers_wrote_moves_no_cursor(engine: Engine, settings: dict[str, str]) -> None:
    # Given a letter whose texts set a terminal's title, and hide what stands before them
    words, shown = "\x1b]0;owned\x07\x9b2J\u202e", r"\x1b]0;owned\x07\x9b2J\u202e"
    bury(engine, 1, actor=f"a{words}", cause=f"c{words}", error=f"e{words}")
    [letter] = list_dead(engine, DeadFilter())

    # When an operator reads it, then each control character is written out
    for output in (nouba(settings, "list"), nouba(settings, "show", str(letter.id), "--body")):
        assert not [one for one in words if one in output and not one.isprintable()]
        assert f"c{shown}" in output


def test_pages_follow_each_other(engine: Engine, settings: dict[str, str]) -> None:
    for event_id in range(5):
        bury(engine, event_id)
    ids = [letter.id for letter in list_dead(engine, DeadFilter())]
    first = json.loads(nouba(settings, "list", "--limit", "2", "--json"))["letters"]
    second = json.loads(nouba(settings, "list", "--limit", "2", "--before", str(ids[1]), "--json"))["letters"]
    assert [one["id"] for one in first + second] == ids[:4]


def test_a_dry_run_changes_nothing(engine: Engine, settings: dict[str, str]) -> None:
    bury(engine, 1)
    assert reported(settings, "replay", "--all", "--dry-run") == {"dry_run": True, "replayed": 0, "would_be": 1}
    assert "1 would be discarded" in nouba(settings, "discard", "--all", "--reason", "test", "--dry-run")
    assert states(engine) == ["dead"]
    assert list_entries(engine) == []


def test_ids_are_replayed_by_whom_and_for_what_is_said(engine: Engine, settings: dict[str, str]) -> None:
    for event_id in range(3):
        bury(engine, event_id)
    first = min(letter.id for letter in list_dead(engine, DeadFilter()))
    assert reported(settings, "replay", str(first), "--actor-name", "ops", "--reason", "back") == {
        "replayed": 1,
        "refused": {},
    }
    assert states(engine) == ["replayed", "dead", "dead"]
    assert [(act.who, act.why, act.ids) for act in list_entries(engine)] == [("ops", "back", [first])]
    assert reported(settings, "replay", str(first), status=1) == {"replayed": 0, "refused": {}}
    assert reported(settings, "replay", "--all", "--limit", "1")["replayed"] == 1
    assert states(engine) == ["replayed", "replayed", "dead"]


def test_everything_is_meant_only_where_that_is_said(engine: Engine, settings: dict[str, str]) -> None:
    bury(engine, 1)
    assert "Say which letters" in nouba(settings, "replay", status=2)
    assert "Missing option '--reason'" in nouba(settings, "discard", "--all", status=2)
    assert states(engine) == ["dead"]


def test_what_cannot_be_replayed_is_named_and_is_no_success(engine: Engine, settings: dict[str, str]) -> None:
    bury(engine, 1, body=b"\xff")
    output = nouba(settings, "replay", "--all", status=1)
    assert "0 replayed." in output
    assert "discard it" in output


@pytest.mark.parametrize("when", ["yesterday", "2h ago", "2026-13-01"])
def test_what_is_no_instant_is_refused_with_the_right_form(settings: dict[str, str], when: str) -> None:
    assert "write 2026-11-23" in " ".join(nouba(settings, "list", "--since", when, status=2).split())


def test_without_its_table_the_fix_is_said(settings: dict[str, str], tmp_path: Path) -> None:
    away = settings | {"NOUBA_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none"}
    assert "Is it up, and `nouba migrate` run?" in nouba(away, "list", status=1)
