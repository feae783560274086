"""The help of every command fits a terminal of 80 columns, and its summary is whole."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from shared.cli import main

pytestmark = pytest.mark.lint

#: What click uses of 80 columns.
COLUMNS = 78
#: Three words in front of an example can be longer; prose cannot.
MAX_EXAMPLE = 100


def groups(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """Every group of the command line, by its words."""
    yield path, group
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from groups(command, (*path, name))


EVERY_GROUP = list(groups(main))


@pytest.mark.parametrize(("path", "group"), EVERY_GROUP, ids=[" ".join(path) or "nouba" for path, _ in EVERY_GROUP])
def test_no_summary_is_cut_at_80_columns(path: tuple[str, ...], group: click.Group) -> None:
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=COLUMNS, max_content_width=COLUMNS)

    assert result.exit_code == 0
    listed = result.output.partition("Commands:\n")[2]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []
    assert max(len(line) for line in result.output.splitlines()) <= MAX_EXAMPLE


@pytest.mark.parametrize(("path", "group"), EVERY_GROUP, ids=[" ".join(path) or "nouba" for path, _ in EVERY_GROUP])
def test_every_command_has_a_summary_that_is_one_sentence(path: tuple[str, ...], group: click.Group) -> None:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        first = (command.help or "").partition("\n")[0]
        assert first.endswith("."), f"nouba {' '.join((*path, name))}: {first!r}"


@pytest.mark.parametrize(("path", "group"), EVERY_GROUP, ids=[" ".join(path) or "nouba" for path, _ in EVERY_GROUP])
def test_a_list_of_commands_shows_their_own_summaries(path: tuple[str, ...], group: click.Group) -> None:
    context = click.Context(group)
    for name, place in getattr(group, "places", {}).items():
        command = group.get_command(context, name)
        assert command is not None
        assert (command.help or "").partition("\n")[0] == place.summary, f"nouba {' '.join((*path, name))}"


def test_help_imports_no_command() -> None:
    # a command of an operator reads tables, and a service's handles messages
    program = "import sys; from shared.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert "Diagnose this installation; print the fix for each fault." in shown
    assert not {"sqlalchemy", "dramatiq", "boto3"} & set(shown.split())
