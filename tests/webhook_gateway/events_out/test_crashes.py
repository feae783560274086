"""A worker that is killed at any place loses no event."""

from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.webhook_gateway.events_out.processes import RunningEvents, add, due_now, record, states
from tests.webhook_gateway.events_out.receivers import Receiver
from tests.webhook_gateway.processes import Database


@pytest.mark.parametrize(
    ("place", "times"),
    [
        # between the answer and the record: the endpoint gets it twice, under one id
        ("events.after_post", 2),
        pytest.param("events.before_fan_out_commit", 1, marks=pytest.mark.slow),
        pytest.param("events.after_claim", 1, marks=pytest.mark.slow),
        pytest.param("events.after_record", 1, marks=pytest.mark.slow),
    ],
)
def test_a_killed_worker_loses_no_event(
    database: Database, rabbitmq_url: str, tmp_path: Path, place: str, times: int
) -> None:
    with Receiver.listening() as school:
        _, secret = add(database, school.url)

        # Given a worker that is killed there
        with RunningEvents(tmp_path / "1", database.url, rabbitmq_url, NOUBA_FAILPOINTS=f"{place}=kill") as worker:
            (event_id,) = record(database, 1)
            worker.process.wait(20)

        # When another one runs, and the lease is over
        with RunningEvents(tmp_path / "2", database.url, rabbitmq_url):
            due_now(database)

            # Then the event has arrived
            wait_until(lambda: states(database) == {"delivered": 1}, 20, "the event was lost")
        assert school.ids() == [event_id] * times
        for one in school.received:
            one.verify(secret)
