"""Runs the Procfile's processes side by side under honcho, and restarts those that end."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho import manager as honcho
from honcho.environ import parse_procfile

_STOP_SECONDS = 25

# A process that falls over is started again, as it is in production; but one that never stood is broken, and then
# everything stops, with its last words in the log. A taken port is given up after five seconds. Doubled braces
# are for `format`.
_KEPT = """\
trap 'exit 143' TERM
stood=
while :; do
    began=$(date +%s)
    {command}
    status=$?
    if [ $(($(date +%s) - began)) -ge 10 ]; then stood=yes; fi
    if [ -z "$stood" ]; then exit $status; fi
    echo "ended with status $status; starting it again"
    sleep 1
done"""


def read_procfile(path: Path) -> dict[str, str]:
    """The commands in `path` by name."""
    return dict(parse_procfile(path.read_text()).processes)


def run_processes(
    commands: Mapping[str, str],
    shared: Mapping[str, str],
    own: Mapping[str, Mapping[str, str]],
    folder: Path,
    *,
    keep: bool,
) -> int:
    """Run `commands` in `folder` until one ends or a signal comes, then end all. Returns the first exit status."""
    # five seconds by default, which is too short for a worker to finish what it does
    honcho.KILL_WAIT = _STOP_SECONDS
    manager = honcho.Manager()
    # the commands name programs of our own environment, whether or not it is activated
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    base = {**os.environ, **shared, "PATH": path, "PYTHONUNBUFFERED": "1"}
    for name, command in commands.items():
        environment = {**base, **own[name], "NOUBA_PROCESS": name}
        manager.add_process(name, _KEPT.format(command=command) if keep else command, env=environment, cwd=str(folder))
    manager.loop()
    return int(manager.returncode or 0)
