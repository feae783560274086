"""Every command of nouba that a page, a message or a test names is one that there is."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from shared.cli import main

pytestmark = pytest.mark.lint

ROOT = Path(__file__).parents[2]
FILES = ("*.py", "*.md", "*.yml", "*.yaml", "*.toml", "*.html", "*.tpl", "Procfile", "Makefile")
#: They name what was called so once.
HISTORY = (
    "CHANGELOG.md",
    "docs/decisions/",
    "shared/schema/migrations/",
    "tests/docs/retired_words",
    "tests/operations/test_named_commands.py",
    # it runs earlier releases by their own names
    "tests/upgrade/",
)
#: `nouba stats show` behind a back-tick or a colon, or at a line's start; `"nouba", "stats", "show"` in
#: a call, and the same of a function `nouba(url, "stats", "show")`.
_NAMED = re.compile(
    r"""(?:`|^\s*|bin/|: )nouba((?: [a-z][a-z-]+)+)"""
    r"""|(?:"nouba"|\b_?nouba\(\w*url)((?:, *"[a-z][a-z-]+")+)""",
    re.MULTILINE,
)


def commands(text: str) -> Iterator[list[str]]:
    """The words after each `nouba`."""
    for found in _NAMED.finditer(text):
        yield re.findall(r"[a-z-]+", found[1] or found[2])


def unknown(words: list[str]) -> str | None:
    """The command as far as it is known and the word that is none; None where all are."""
    group: click.Command | None = main
    for number, word in enumerate(words):
        if not isinstance(group, click.Group):
            return None
        group = group.get_command(click.Context(group), word)
        if group is None:
            return f"nouba {' '.join(words[: number + 1])}"
    return None


def test_every_named_command_exists() -> None:
    listed = subprocess.run(["git", "ls-files", *FILES], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [path for path in listed.splitlines() if not path.startswith(HISTORY) and ROOT / path != Path(__file__)]
    named = [(path, words) for path in paths for words in commands((ROOT / path).read_text())]

    assert len(named) > 300
    assert sorted({f"{path}: {what}" for path, words in named if (what := unknown(words))}) == []


@pytest.mark.parametrize(
    "text",
    [
        'run("nouba", "stats", "mark", day)',
        '_nouba(url, "stats", "mark", day)',
        "`nouba stats mark 2026-11-01`",
        '"Compute days with: nouba stats mark FROM TO"',
        "    bin/nouba statistics show",
    ],
)
def test_a_command_that_is_gone_would_be_seen(text: str) -> None:
    (words,) = commands(text)

    assert unknown(words)
