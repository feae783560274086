"""Schools to settle in: in memory, in PostgreSQL, or each in turn."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from shared.runtime.database import build_engine
from tests.webhook_gateway.fakes import FakeSchool
from tests.webhook_gateway.settlement.factories import School
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool


@pytest.fixture
def harness() -> Harness:
    """A harness with a school in memory."""
    return Harness(FakeSchool())


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """As many connections as the most threads of a test."""
    engine = build_engine(database_url, pool_size=17)
    yield engine
    engine.dispose()


@pytest.fixture
def committing_engine(database_url: str) -> Iterator[Engine]:
    """The same, as settlement has it: every text is a transaction of its own."""
    engine = build_engine(database_url, pool_size=17, autocommit=True)
    yield engine
    engine.dispose()


@pytest.fixture
def sql_school(committing_engine: Engine) -> SqlSchool:
    return SqlSchool(committing_engine)


@pytest.fixture(params=["in memory", "in PostgreSQL"])
def school(request: pytest.FixtureRequest) -> School:
    """Each school in turn: what holds in memory holds in PostgreSQL."""
    if request.param == "in memory":
        return FakeSchool()
    found: SqlSchool = request.getfixturevalue("sql_school")
    return found
