"""`nouba` within the test's own process, which saves the start of another one: for commands that end by themselves.

A command that configures the log, or that runs beside another one, needs a process of its own.
"""

from subprocess import CompletedProcess

from click.testing import CliRunner

from shared.cli import main


def nouba(*arguments: str, **settings: str) -> "CompletedProcess[str]":
    """What `nouba` does with `arguments` and `settings`, as `subprocess.run` reports it."""
    result = CliRunner().invoke(main, list(arguments), env={"COLUMNS": "160", **settings}, prog_name="nouba")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return CompletedProcess(list(arguments), result.exit_code, result.stdout, result.stderr)
