"""A bench on the servers of all tests, and films that are made once."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from local.s3 import S3
from tests.suite.run_folder import RunFolder
from tests.transcoder.jobs.harness import Bench, Files, made_alone, make_film


@pytest.fixture
def bench(
    database_url: str,
    rabbitmq_url: str,
    s3_keys: S3,
    queue_depths: Callable[[str], dict[str, int]],
    tmp_path: Path,
) -> Iterator[Bench]:
    bench = Bench(database_url, rabbitmq_url, s3_keys.url, tmp_path, partial(queue_depths, rabbitmq_url))
    # the objects of one test are no other's: its database begins with course 1 again
    bench.storage.remove("")
    yield bench
    bench.storage.remove("")
    bench.engine.dispose()


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 seconds, which are four chunks of two renditions; browsers do not play it as it is."""
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="session")
def alone(film: Path, test_run: RunFolder) -> Files:
    """What one process makes of the film without any server."""
    return test_run.once("alone", lambda folder: made_alone(film, folder))


@pytest.fixture(scope="session")
def short_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 seconds, two chunks of two renditions."""
    return make_film(tmp_path_factory.mktemp("film") / "short.mp4", seconds=12)
