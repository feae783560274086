"""`pytest tests/stats --hypothesis-profile thorough` reports thousands of histories instead of a hundred."""

from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from hypothesis import settings

settings.register_profile("thorough", max_examples=5000)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg2.extensions.connection]:
    """A connection to an empty school."""
    with closing(psycopg2.connect(database_url)) as connection:
        yield connection
