"""Values that are chosen once, such as a password or a port, and kept for the next start."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.free_port import free_port, is_free


class SavedSettings:
    """A file of names and values that only its owner can read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def text(self, name: str, choose: Callable[[], str]) -> str:
        """The value of `name`; the first time `choose` makes it."""
        values = read_private(self._path)
        if name not in values:
            values[name] = choose()
            write_private(self._path, values)
        return str(values[name])

    def port(self, name: str, preferred: int | None = None) -> int:
        """The port called `name`: the same as last time where that is free, else another free one.

        `preferred` is tried before a port is chosen by chance. Ask before the server starts, not while it runs.
        """
        values = read_private(self._path)
        others = {value for key, value in values.items() if key != name and isinstance(value, int)}
        wanted = [port for port in (values.get(name), preferred) if port is not None and port not in others]
        port = next((port for port in wanted if is_free(port)), None)
        while port is None or port in others:
            port = free_port()
        if values.get(name) != port:
            write_private(self._path, {**values, name: port})
        return int(port)

    def taken_ports(self) -> list[int]:
        """The ports that were chosen and that somebody uses now. Ask when what they are for does not run."""
        values = read_private(self._path).values()
        return sorted(value for value in values if isinstance(value, int) and not is_free(value))

    def __setitem__(self, name: str, value: str) -> None:
        """Choose another value for `name`."""
        write_private(self._path, {**read_private(self._path), name: value})

    def __getitem__(self, name: str) -> Any:
        """What was chosen for `name`. Raises KeyError where nothing was."""
        return read_private(self._path)[name]


def read_private(path: Path) -> dict[str, Any]:
    """The values kept in `path`; none if there is no such file."""
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}


def write_private(path: Path, values: dict[str, Any]) -> None:
    """Keep `values` in `path`, readable by its owner alone; a reader sees the old file or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(values, file, indent=2)
    draft.replace(path)
