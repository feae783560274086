"""Thousands of interleavings end with the books that the provider's own story asks for."""

from collections.abc import Iterator

import pytest

from local.postgres import Postgres
from tests.sim.interleaving import Servers, run_seed
from tests.webhook_gateway.processes import new_database

#: Of each test of `make test-all`; `make sim` plays as many as are asked for.
SEEDS = 500
#: The sealer and the check of its chain read back over minutes: what was played before costs each of them time.
SEEDS_PER_DATABASE = 100


@pytest.fixture
def servers(database_url: str) -> Iterator[Servers]:
    with Servers.of(database_url) as servers:
        yield servers


@pytest.mark.parametrize("first", [0, pytest.param(20, marks=pytest.mark.slow)])
def test_some_interleavings(servers: Servers, first: int) -> None:
    for seed in range(first, first + 20):
        run_seed(servers, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 20 * SEEDS, SEEDS))
def test_many_interleavings(migrated_server: Postgres, first: int) -> None:
    for begin in range(first, first + SEEDS, SEEDS_PER_DATABASE):
        with new_database(migrated_server) as database, Servers.of(database.url) as servers:
            for seed in range(begin, begin + SEEDS_PER_DATABASE):
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
