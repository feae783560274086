"""Thousands of interleavings end with the books that the provider's own story asks for."""

from collections.abc import Iterator

import pytest

from local.postgres import Postgres
from tests.sim.interleaving import SEEDS_PER_DATABASE, Servers, run_seed
from tests.webhook_gateway.processes import new_database

#: `make test-all` plays the first so many, in tests of a database each, and CI all of them every night.
SEEDS, NIGHTLY_SEEDS = 400, 10_000


@pytest.fixture
def servers(database_url: str) -> Iterator[Servers]:
    with Servers.of(database_url) as servers:
        yield servers


def test_some_interleavings(servers: Servers) -> None:
    for seed in range(20):
        run_seed(servers, seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=pytest.mark.slow if first < SEEDS else pytest.mark.nightly)
        for first in range(0, NIGHTLY_SEEDS, SEEDS_PER_DATABASE)
    ],
)
def test_many_interleavings(servers: Servers, first: int) -> None:
    for seed in range(first, first + SEEDS_PER_DATABASE):
        run_seed(servers, seed)


def test_a_seed_plays_the_same_steps_again(migrated_server: Postgres) -> None:
    traces = []
    for _ in range(2):
        with new_database(migrated_server) as database, Servers.of(database.url) as servers:
            traces.append([run_seed(servers, seed).trace for seed in range(5)])
    assert traces[0] == traces[1]


def test_processes_die_everywhere_and_no_two_interleavings_are_the_same(servers: Servers) -> None:
    traces = [run_seed(servers, seed).trace for seed in range(100, 140)]
    happened = {(point.split()[0], what) for trace in traces for _, point, what in trace}

    assert {("sql", "dies"), ("failpoint", "dies"), ("failpoint", "raises")} <= happened
    assert len({tuple(trace) for trace in traces}) == len(traces)
