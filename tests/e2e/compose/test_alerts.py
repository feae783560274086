"""The real Prometheus reports real faults within two minutes, and no longer than they last."""

import time
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from tests.e2e.compose.breakage import SERVERS, SERVICES_AND_DATA, Fault
from tests.e2e.compose.containers import Containers
from tests.e2e.compose.prometheus import Alert, Prometheus
from tests.e2e.compose.traffic import Traffic
from tests.waiting import wait_until

NOTIFIED_WITHIN_SECONDS = 120
QUIET_WITHIN_SECONDS = 180
GO_ON_EVERY_SECONDS = 3


@pytest.mark.parametrize(
    "faults", [SERVICES_AND_DATA, SERVERS], ids=["services and data", "database, broker and spool"]
)
def test_a_fault_is_reported_within_two_minutes_and_no_longer_than_it_lasts(
    containers: Containers, faults: Sequence[Fault]
) -> None:
    prometheus = Prometheus(containers.prometheus_url)
    expected = {alert for fault in faults for alert in fault.alerts}

    def loud() -> set[str]:
        return {str(alert) for alert in expected if prometheus.fires(alert)}

    wait_until(lambda: not loud(), QUIET_WITHIN_SECONDS, "an alert fires before there is a fault")
    with Traffic(containers) as traffic:
        # When all of it breaks while payments come
        with ExitStack() as repairs:
            break_and_wait(containers, prometheus, faults, repairs)
        mended = time.monotonic()

        # Then it is quiet again once all is mended, and no payment is missing
        try:
            wait_until(lambda: not loud(), QUIET_WITHIN_SECONDS, "an alert fires on")
        except AssertionError as error:
            error.add_note(f"firing: {sorted(loud())}")
            raise
        print(f"\nall quiet {time.monotonic() - mended:.0f} s after the repair")
        print(f"{traffic.await_booked(120)} payments booked once")


def break_and_wait(containers: Containers, prometheus: Prometheus, faults: Sequence[Fault], repairs: ExitStack) -> None:
    """Begin every fault, and wait until all its alerts fire; `repairs` mends what was broken, the last first."""
    silent: dict[Alert, tuple[Fault, float]] = {}
    for fault in faults:
        repairs.callback(fault.repair, containers)
        fault.begin(containers)
        silent |= {alert: (fault, time.monotonic()) for alert in fault.alerts}
    while silent:
        for fault in {fault.name: fault for fault, _ in silent.values()}.values():
            fault.go_on(containers)
        for alert, (fault, began) in list(silent.items()):
            lasted_seconds = time.monotonic() - began
            if prometheus.fires(alert):
                print(f"\n{fault.name}: {alert} fires after {lasted_seconds:.0f} s", end="")
                del silent[alert]
            assert lasted_seconds < NOTIFIED_WITHIN_SECONDS, f"{fault.name}, and nobody reports: {alert}"
        time.sleep(GO_ON_EVERY_SECONDS)
