"""One process that imports the libraries once and forks a pytest for each line of arguments that it reads.

A new pytest spends seconds on importing what no defect changes. A fork has the libraries already, and imports the
project and its tests as they are at that moment.
"""

import importlib
import json
import os
import sys
import tempfile
from typing import IO, Final

#: What the tests of the defects import; prometheus_client is left out, since its first import decides how it counts.
LIBRARIES: Final = (
    "_pytest.assertion.rewrite", "alembic.command", "boto3", "click", "cryptography.hazmat.primitives.asymmetric.rsa",
    "flask", "httpx", "hypothesis", "pika", "psutil", "psycopg2", "pydantic_settings", "pytest", "rich",
    "sqlalchemy.dialects.postgresql.psycopg2", "structlog",
)  # fmt: skip


def run_forked(arguments: list[str], output: IO[bytes]) -> int:
    """The exit status of a pytest in a fork; it writes to `output`."""
    pid = os.fork()
    if pid == 0:
        import pytest

        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
        # the run without a defect has compiled everything; a defect must leave no compiled file behind
        status = 70
        try:
            status = int(pytest.main(arguments))
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    """Answer each line, a list of arguments, with a line: the exit status and the output."""
    for library in LIBRARIES:
        importlib.import_module(library)
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output:
            status = run_forked(json.loads(line), output)
            output.seek(0)
            print(json.dumps([status, output.read().decode(errors="replace")]), flush=True)


if __name__ == "__main__":
    main()
