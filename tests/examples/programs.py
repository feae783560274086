"""Starts each example as its first lines say, on a port and a database of its own."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from local.free_port import free_port
from local.installers import laravel
from tests.node_modules import TOOLS, node_modules
from tests.waiting import wait_until

PROJECT: Final = Path(__file__).parents[2]
EXAMPLES: Final = PROJECT / "examples"


class Example:
    """An application of a school's, of one language. It may be killed and started again."""

    def __init__(self, name: str, folder: Path, settings: dict[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: Of its endpoint, once it has one.
        self.endpoint_id, self.secret = 0, ""
        self._database = folder / "school.sqlite3"
        self._log = folder / "log"
        self._settings = {**settings, "SCHOOL_DATABASE": str(self._database)}
        self._start = PROGRAMS[name](folder, self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        self._settings |= settings
        for command in self._start.before:
            subprocess.run(command, env=self._environment(), cwd=self._start.folder, check=True, timeout=180)
        self._start.before.clear()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._start.command,
                env=self._environment(),
                cwd=self._start.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, 30, f"{self.name} does not answer")

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def handled(self) -> list[str]:
        """The ids of the events that it has handled, in the order in which they came first."""
        try:
            with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as database:
                return [str(row[0]) for row in database.execute("SELECT id FROM nouba_events ORDER BY rowid")]
        except sqlite3.OperationalError:
            return []

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if "NOUBA_" not in name}
        return {**inherited, **self._start.environment, **self._settings}

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with suppress(httpx.TransportError):
            # every one of them has this route, and takes nothing unsigned
            return httpx.post(f"{self.url}/nouba-events", json={}).status_code == 401
        return False


@dataclass
class Start:
    """How an example is started: `before` once, then `command`."""

    command: list[str]
    folder: Path
    before: list[list[str]]
    environment: dict[str, str]


def _flask(folder: Path, port: int) -> Start:
    app = EXAMPLES / "flask/app.py"
    return Start([str(TOOLS / "flask"), "--app", str(app), "run", "--port", str(port)], folder, [], {})


def _django(folder: Path, port: int) -> Start:
    manage = [sys.executable, str(EXAMPLES / "django/manage.py")]
    return Start([*manage, "runserver", "--noreload", str(port)], folder, [[*manage, "migrate", "--verbosity=0"]], {})


def _express(folder: Path, port: int) -> Start:
    for name in ("app.js", "package.json"):
        shutil.copy(EXAMPLES / "express" / name, folder)
    (folder / "node_modules").symlink_to(node_modules(EXAMPLES / "express"))
    return Start([str(TOOLS / "node"), "app.js"], folder, [], {"PORT": str(port)})


def _laravel(folder: Path, port: int) -> Start:
    ours = Path(__file__).parent / "laravel"
    for name in ("bootstrap/cache", "storage/logs", "storage/framework/views", "config", "routes"):
        (folder / name).mkdir(parents=True)
    shutil.copy(ours / "app.php", folder / "config")
    shutil.copy(EXAMPLES / "laravel/config/nouba.php", folder / "config")
    for name, lines in _LARAVEL_CONFIG.items():
        (folder / f"config/{name}.php").write_text(f"<?php\n\nreturn {lines};\n")
    php = str(laravel.find_php())
    environment = {"APPLICATION": str(folder), "EXAMPLE": str(EXAMPLES / "laravel")}
    command = [php, "-S", f"127.0.0.1:{port}", str(ours / "server.php")]
    return Start(command, folder, [[php, str(ours / "migrate.php")]], environment)


#: The parts of an application's settings that ours need.
_LARAVEL_CONFIG: Final = {
    "database": "['default' => 'sqlite', 'connections' => ['sqlite' => ['driver' => 'sqlite',"
    " 'database' => env('SCHOOL_DATABASE'), 'prefix' => '']]]",
    "logging": "['default' => 'errorlog', 'channels' => ['errorlog' => ['driver' => 'errorlog']]]",
    "view": "['paths' => [], 'compiled' => storage_path('framework/views')]",
}

PROGRAMS: Final[dict[str, Callable[[Path, int], Start]]] = {
    "flask": _flask,
    "django": _django,
    "express": _express,
    "laravel": _laravel,
}
