"""A gateway that is killed, fails or is slow while it takes a webhook: what it did not say yes to is kept at the next
attempt, and what it kept is kept once.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.postgres import Postgres
from local.psp.signed_webhooks import Delivery
from tests.failpoint_places import ACTIONS, DELAY, INTAKE, every
from tests.webhook_gateway.processes import Database, RunningGateway, deliver, new_database, paid


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        yield database


@pytest.fixture(scope="module")
def sound(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The one that the provider's next attempt goes to."""
    with RunningGateway(tmp_path_factory.mktemp("sound") / "log", database.url) as gateway:
        yield gateway


def answer(gateway: RunningGateway, delivery: Delivery) -> int:
    """The status, or 0 where the connection ends without one."""
    with httpx.Client(base_url=gateway.url, timeout=10) as client:
        try:
            return deliver(client, delivery).status_code
        except httpx.TransportError:
            return 0


@pytest.mark.parametrize(("place", "action"), every(INTAKE, *ACTIONS))
def test_an_event_is_kept_once_whatever_happens_there(
    place: str, action: str, database: Database, sound: RunningGateway, tmp_path: Path
) -> None:
    delivery, before = paid(), database.counts()

    with RunningGateway(tmp_path / "broken.log", database.url, NOUBA_FAILPOINTS=f"{place}={action}") as broken:
        status = answer(broken, delivery)
        assert f"failpoint {place}: " in broken.log
    if action == DELAY:
        assert status == 200
    else:
        assert status in (0, 500), "the provider was answered that all is well"
        assert answer(sound, delivery) == 200

    grown = {table: count - before[table] for table, count in database.counts().items() if count != before[table]}
    assert grown == {"webhook_events": 1, "outbox": 1}
