"""A click group that imports a command when it is used, so that no command waits for another one's imports."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """`places` says where commands are, such as `package.module:name`; others are added as to any group."""

    def __init__(self, *args: Any, places: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places = dict(places or {})

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *self._places])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self._places:
            return super().get_command(context, name)
        module, _, attribute = self._places[name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command
