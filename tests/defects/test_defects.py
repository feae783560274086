"""Each defect of the catalogue is noticed by the tests that are named for it, and nothing else makes them fail."""

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
from tests.defects.catalogue import DEFECTS, Change, Defect

PROJECT = Path(__file__).parents[2]
COPIED = ("services", "shared", "local", "tests", "deploy", "pyproject.toml")
LIMIT_SECONDS = 120

# The copy's tests use the servers that run already: the same folder is the same server. Beyond the first start that
# would be most of the time.
_SHARED_SERVERS = """

@pytest.fixture(scope="session")
def postgres_server() -> Postgres:  # noqa: F811
    return Postgres(Path({postgres!r}), durable=False)


@pytest.fixture(scope="session")
def migrated_server(postgres_server: Postgres) -> Postgres:  # noqa: F811
    return postgres_server
"""
_SHARED_NODE = """

@pytest.fixture(scope="session")
def node() -> Node:  # noqa: F811
    return Node(Path({rabbitmq!r}))
"""


class Copy:
    """The project in a folder of its own, whose tests import nothing from outside of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def test(self, *tests: str) -> "subprocess.CompletedProcess[str]":
        """Run `tests` of the copy."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NOUBA_", "PYTEST_"))}
        return subprocess.run(
            [*command, f"--timeout={LIMIT_SECONDS}", *tests],
            cwd=self.folder,
            # before the place of the installed project; and no plugin that these tests do not need
            env={**inherited, "PYTHONPATH": str(self.folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=2 * LIMIT_SECONDS,
        )

    @contextmanager
    def with_defect(self, defect: Defect) -> Iterator[None]:
        """Put the defect in, and take it out again."""
        before = {change.file: (self.folder / change.file).read_text() for change in defect.changes}
        try:
            for change in defect.changes:
                self._apply(change)
            yield
        finally:
            for file, text in before.items():
                (self.folder / file).write_text(text)

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
def copy(migrated_server: Postgres, rabbitmq_server: RabbitMq, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc", "corpus")
    for name in COPIED:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, folder / name)
    with (folder / "tests" / "conftest.py").open("a") as file:
        file.write(_SHARED_SERVERS.format(postgres=str(migrated_server.folder)))
    with (folder / "tests" / "runtime" / "conftest.py").open("a") as file:
        file.write(_SHARED_NODE.format(rabbitmq=str(rabbitmq_server.folder)))
    return Copy(folder)


def test_the_copys_tests_import_the_copys_code(copy: Copy) -> None:
    """Else a defect would be put into one tree and looked for in the other."""
    show = "import services, shared, local, tests; print(*(m.__path__[0] for m in (services, shared, local, tests)))"
    environment = {**os.environ, "PYTHONPATH": str(copy.folder)}
    told = subprocess.run(
        [sys.executable, "-c", show], cwd=copy.folder, env=environment, capture_output=True, text=True, check=True
    )
    assert [Path(one).parent for one in told.stdout.split()] == [copy.folder] * 4


@pytest.mark.timeout(600)
def test_without_a_defect_every_test_that_is_named_here_passes(copy: Copy) -> None:
    named = sorted({test for defect in DEFECTS for test in defect.tests})
    result = copy.test(*named)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_each_defect_is_caught(defect: Defect, copy: Copy) -> None:
    with copy.with_defect(defect):
        for test in defect.tests:
            result = copy.test(test)
            told = result.stdout[-4000:] + result.stderr[-2000:]
            # 1 is for tests that failed; a defect that breaks the import of everything would prove nothing
            assert result.returncode == 1, f"{test} did not notice: {defect.why}\n{told}"
            assert re.search(r"\b[1-9][0-9]* failed", result.stdout), told
            assert not re.search(r"\b[1-9][0-9]* error", result.stdout), told
