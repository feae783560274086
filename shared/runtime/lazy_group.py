"""A click group that imports a command when it is used, so that no command waits for another one's imports."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, such as `package.module:name`, and its summary: a list of commands imports none of them."""

    where: str
    summary: str


class LazyGroup(click.Group):
    """The commands of `places` are imported when they are used; others are added as to any group.

    A test compares each summary with its command's own.
    """

    def __init__(self, *args: Any, places: Mapping[str, Place] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.places = dict(places or {})

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *self.places])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.places:
            return super().get_command(context, name)
        module, _, attribute = self.places[name].where.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with its summary."""
        lazy = {name: click.Command(name, help=place.summary) for name, place in self.places.items()}
        listed = click.Group(commands={**self.commands, **lazy})
        listed.format_commands(context, formatter)
