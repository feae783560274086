"""A worker sends nothing to an address of its own network; alone on its database, since others here may."""

from pathlib import Path

from tests.waiting import wait_until
from tests.webhook_gateway.events_out.processes import RunningEvents, add, logs, record
from tests.webhook_gateway.events_out.receivers import Receiver
from tests.webhook_gateway.processes import Database


def test_a_private_address_gets_nothing_unless_it_is_allowed(
    database: Database, rabbitmq_url: str, tmp_path: Path
) -> None:
    # Given a worker as it is by default
    with Receiver.listening() as school:
        endpoint_id, _ = add(database, school.url)
        with RunningEvents(tmp_path / "log", database.url, rabbitmq_url, NOUBA_EVENTS_ALLOW_PRIVATE="false"):
            # When an event comes
            record(database, 1)

            # Then the endpoint is refused before a byte is sent
            wait_until(lambda: logs(database, endpoint_id) not in ([], [[]]), 10, "no attempt was logged")
        ((entry,),) = logs(database, endpoint_id)
        assert entry["error"] == "private address"
        assert school.received == []
