"""Each defect of the catalogue is noticed by the tests that are named for it, and nothing else makes them fail."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from tests.defects.catalogue import DEFECTS, INTERLEAVINGS, Change, Defect
from tests.suite import run_folder
from tests.suite.run_folder import RunFolder

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
COPIED = ("services", "shared", "local", "tests", "deploy", "pyproject.toml")
LIMIT_SECONDS = 120


class Copy:
    """The project in a folder of its own, whose tests import nothing from outside of it."""

    def __init__(self, folder: Path, run: RunFolder) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NOUBA_", "PYTEST_"))}
        #: Puts the copy before the place of the installed project, shares the servers, and leaves out other plugins.
        self.environment = {
            **inherited,
            "PYTHONPATH": str(folder),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            run_folder.ENVIRONMENT: str(run.shared),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.defects.forking"],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def test(self, *tests: str) -> tuple[int, str]:
        """The exit status and the output of pytest, which runs `tests` of the copy until one fails."""
        assert self._process.stdin
        assert self._process.stdout
        arguments = [
            "-q",
            "-x",
            "-m",
            "not nightly",
            "-p",
            "pytest_timeout",
            "-p",
            "no:cacheprovider",
            f"--timeout={LIMIT_SECONDS}",
            *tests,
        ]
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        status, output = json.loads(self._process.stdout.readline())
        return int(status), str(output)

    def close(self) -> None:
        """End the process that runs the tests."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)

    @contextmanager
    def with_defect(self, defect: Defect) -> Iterator[None]:
        """Put the defect in, and take it out again."""
        paths = {self.folder / change.file for change in defect.changes}
        before = {path: (path.read_text(), path.stat()) for path in paths}
        try:
            for change in defect.changes:
                self._apply(change)
            yield
        finally:
            for path, (text, state) in before.items():
                path.write_text(text)
                # the age that its compiled file names
                os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    def _apply(self, change: Change) -> None:
        path = self.folder / change.file
        text = path.read_text()
        found = text.count(change.old)
        assert found == 1, (
            f"{change.file} has these lines {found} times instead of once; the code has changed, so write the defect "
            f"anew in tests/defects/catalogue.py:\n{change.old}"
        )
        path.write_text(text.replace(change.old, change.new))


@pytest.fixture(scope="module")
def copy(
    migrated_server: Postgres, rabbitmq_server: RabbitMq, test_run: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "corpus")
    for name in COPIED:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, folder / name)
    copy = Copy(folder, test_run)
    yield copy
    copy.close()


def test_the_copys_tests_import_the_copys_code(copy: Copy) -> None:
    """Else a defect would be put into one tree and searched for in the other."""
    show = "import services, shared, local, tests; print(*(m.__path__[0] for m in (services, shared, local, tests)))"
    reported = subprocess.run(
        [sys.executable, "-c", show], cwd=copy.folder, env=copy.environment, capture_output=True, text=True, check=True
    )
    assert [Path(one).parent for one in reported.stdout.split()] == [copy.folder] * 4


@pytest.mark.timeout(600)
def test_without_a_defect_every_test_that_is_named_here_passes(copy: Copy) -> None:
    named = {test for defect in DEFECTS for test in defect.tests}
    # the first hundred; tests/sim plays the others without a defect
    named = {f"{test}[0]" if test == INTERLEAVINGS else test for test in named}
    status, output = copy.test(*sorted(named))
    assert status == 0, output[-6000:]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_is_caught(defect: Defect, copy: Copy) -> None:
    with copy.with_defect(defect):
        for test in defect.tests:
            status, output = copy.test(test)
            reported = output[-6000:]
            # 1 is for tests that failed; a defect that breaks the import of everything would prove nothing
            assert status == 1, f"{test} did not notice: {defect.why}\n{reported}"
            assert re.search(r"\b[1-9][0-9]* failed", output), reported
            assert not re.search(r"\b[1-9][0-9]* error", output), reported
