"""A gateway that is killed, fails or is slow once it has put an event into its spool keeps the event once."""

from pathlib import Path

import pytest

from local.postgres import Postgres
from tests.failpoint_places import ACTIONS, DELAY, every
from tests.waiting import wait_until
from tests.webhook_gateway.inbox.test_failpoints_accept import answer
from tests.webhook_gateway.processes import Database, RunningGateway, paid

PLACES = ("spool.after_append",)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", every(PLACES))
def test_a_spooled_event_is_kept_once_whatever_happens_there(
    place: str, own_postgres: Postgres, tmp_path: Path
) -> None:
    for number, action in enumerate(ACTIONS, 1):
        delivery = paid()
        settings = {"NOUBA_GATEWAY_SPOOL_DIR": str(tmp_path / "spool")}
        own_postgres.kill()
        log = tmp_path / f"{number}.log"
        with RunningGateway(log, own_postgres.url, NOUBA_FAILPOINTS=f"{place}={action}", **settings) as broken:
            status = answer(broken, delivery)
            assert status == 200 if action == DELAY else status in (0, 500, 503)
            assert f"failpoint {place}: " in broken.log
        own_postgres.start()
        with RunningGateway(log, own_postgres.url, **settings) as sound:
            assert answer(sound, delivery) == 200
            wait_until(lambda: len(Database(own_postgres.url).events()) == number)  # noqa: B023
            wait_until(lambda: sound.metric("nouba_gateway_spool_events") == 0)
        assert Database(own_postgres.url).counts()["outbox"] == number
