"""Runbooks: one an alert, short, and every command and query in them is one that works."""

import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import psycopg2
import pytest
import yaml

from shared.cli import main
from tests.monitoring.exported import ROOT
from tests.monitoring.queries import alerts, parse

FOLDER = ROOT / "docs" / "runbooks"
PAGES = sorted(FOLDER.glob("*.md"))
SERVICES = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"])
LINES = 45
#: What stands after `docker compose <verb>` and is no service.
_VALUED = {"--since", "--until", "--scale"}


@pytest.mark.lint
def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {page.stem for page in PAGES} == {alert["alert"] for alert in alerts()}


@pytest.mark.lint
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_short_and_says_how_to_diagnose_and_mitigate(page: Path) -> None:
    text = page.read_text()

    assert text.startswith(f"# {page.stem}\n")
    assert len(text.splitlines()) <= LINES
    for part in ("**Impact.**", "## Diagnose", "## Mitigate"):
        assert part in text


@pytest.mark.lint
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_services_and_pages_that_there_are(page: Path) -> None:
    for command in commands(page):
        words = shlex.split(command)
        if words[:2] == ["docker", "compose"]:
            assert not services_in(words[2:]) - SERVICES, command
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        assert (FOLDER / target).exists(), target


@pytest.mark.lint
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_commands_of_nouba_that_there_are(page: Path) -> None:
    for command in commands(page):
        # the database and the virtual host have the same name
        if called := re.search(r"(?:^|exec [a-z-]+ )nouba (.+)", command):
            group: click.Command = main
            for word in called[1].split():
                if isinstance(group, click.Group) and not word.startswith("-"):
                    found = group.get_command(click.Context(group), word)
                    assert found is not None, command
                    group = found


def test_the_statements_of_all_pages_run_on_the_newest_schema(database_url: str) -> None:
    statements = {statement for page in PAGES for statement in re.findall(r'-c "([^"]+)"', page.read_text())}

    assert len(statements) > 5
    with closing(psycopg2.connect(database_url)) as connection:
        for statement in statements:
            connection.cursor().execute(statement)


@pytest.mark.lint
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_queries_of_a_page_are_promql(page: Path) -> None:
    for block in re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL):
        for query in block.splitlines():
            assert parse(query) is not None


def commands(page: Path) -> Iterator[str]:
    """The lines of its code blocks, and what its sentences set in code that begins like a command."""
    text = page.read_text()
    for block in re.findall(r"```\n(.*?)```", text, re.DOTALL):
        yield from block.splitlines()
    yield from re.findall(r"`((?:docker|nouba) [^`]+)`", text)


def services_in(words: list[str]) -> set[str]:
    """The services in a command of docker compose: `exec` has one, before the command that is run there."""
    verb, *rest = words
    named = [word for before, word in zip(["", *rest], rest, strict=False) if before not in _VALUED]
    named = [word for word in named if not word.startswith("-")]
    return set(named[:1] if verb == "exec" else named if verb in ("ps", "logs", "restart", "up") else [])
