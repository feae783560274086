"""Every place where a test can break a process on purpose, and the three ways in which the tests break it there."""

from collections.abc import Sequence
from itertools import product
from typing import Final

import pytest
from _pytest.mark.structures import ParameterSet

#: A process that is killed there, one that fails there once, and one that is slow there once.
KILL, RAISE, DELAY = "kill", "raise*1", "delay:0.2*1"
ACTIONS: Final = (KILL, RAISE, DELAY)

INTAKE: Final = ("intake.after_verify", "intake.after_commit")
RELAY: Final = ("relay.after_claim", "relay.after_publish", "relay.after_commit")
SETTLEMENT: Final = (
    "settlement.after_claim", "settlement.after_open", "settlement.after_credit", "settlement.after_activation",
    "settlement.after_payment", "settlement.after_booking", "settlement.before_commit", "settlement.after_commit",
)  # fmt: skip
BATCHES: Final = ("batch.after_read", "batch.before_alone", "split.before_commit", "split.after_commit")
TRANSCODER: Final = (
    "transcoder.after_claim", "transcoder.before_plan_commit", "transcoder.before_first_commit",
    "transcoder.after_first", "transcoder.after_encode", "transcoder.after_upload", "transcoder.before_finish_commit",
    "transcoder.after_finish", "transcoder.before_publish", "transcoder.before_master", "transcoder.after_master",
    "transcoder.before_commit",
)  # fmt: skip
STATISTICS: Final = (
    "sweep.before_scan", "sweep.before_commit", "sweep.after_commit", "stats.before_read", "stats.after_read",
    "stats.after_keep", "stats.before_commit", "stats.after_commit",
)  # fmt: skip

#: Each table has one test for all of its places and all three ways.
TABLES: Final = {
    "tests/webhook_gateway/inbox/test_failpoints_accept.py": INTAKE,
    "tests/messaging/test_failpoints_relay.py": RELAY,
    "tests/webhook_gateway/settlement/test_failpoints_settlement.py": SETTLEMENT,
    "tests/webhook_gateway/settlement/test_failpoints_batches.py": BATCHES,
    "tests/transcoder/jobs/test_failpoints.py": TRANSCODER,
    "tests/stats/snapshots/test_failpoints.py": STATISTICS,
}

#: Places that tests of their own break, and name.
ELSEWHERE: Final = (
    "dead.after_keep", "dead.after_ack", "dead.replay.before_commit", "dead.replay.after_commit",
    "events.before_fan_out_commit", "events.after_claim", "events.after_post", "events.after_record",
    "events.replay.before_commit", "events.replay.after_commit",
    "drain.after_commit", "spool.after_append", "sealer.before_commit",
    "adjustments.after_posting", "adjustments.after_subscriptions",
    "payouts.after_posting", "payouts.before_commit", "payouts.after_commit",
    "reconcile.after_take", "reconcile.after_answer", "reconcile.after_keep",
    "checkout.after_begin", "checkout.after_call", "checkout.after_keep",
    "refunds.after_note", "refunds.after_answer", "refunds.after_keep",
    "transcoder.after_speech",
)  # fmt: skip


def every(places: Sequence[str], *actions: str) -> list[ParameterSet]:
    """The arguments `place, action` of a test: `make test` takes every action at one place, `make test-all` all places.

    That place is the one before the commit, if there is one: everything has been done, and nothing may stay.
    """
    representative = next((place for place in places if place.endswith("before_commit")), places[-1])
    return [
        pytest.param(*chosen, marks=() if chosen[0] == representative else pytest.mark.slow, id="-".join(chosen))
        for chosen in product(places, *([actions] if actions else []))
    ]
