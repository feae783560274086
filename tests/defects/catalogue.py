"""The defects: what is wrong, the lines that make it so, and the tests that have to fail where it is."""

from dataclasses import dataclass

GATEWAY = "services/webhook_gateway"
TESTS = "tests/webhook_gateway"
#: The docstring of the function that keeps a webhook.
KEEPING = '"""Keep `entry`, unless it is kept already. Raises what `inbox` raises."""'
#: The seeded interleavings, up to the first that fails: a defect of the order of steps is found without a test of its
#: own. All of today's are found in the first hundred.
INTERLEAVINGS = "tests/sim/test_interleavings.py::test_many_interleavings"


@dataclass(frozen=True, slots=True)
class Change:
    """In `file`, `old` stands exactly once and becomes `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Defect:
    """One fault of ours. Each of `tests` fails with it, and passes without it."""

    name: str
    why: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]


MONEY = (
    Defect(
        "check then insert",
        "Two deliveries at once both find nothing, and the second insert fails: the provider gets an error.",
        (
            Change(f"{GATEWAY}/inbox/postgres.py", "    ON CONFLICT (provider, dedupe_key) DO NOTHING\n", ""),
            Change(
                f"{GATEWAY}/inbox/postgres.py",
                "        rows = fetch_all(self._connection, _KEEP, _values(entries))\n",
                "        known = self._find(entries)\n"
                "        unknown = [entry for entry in entries if _key(entry) not in known]\n"
                "        rows = fetch_all(self._connection, _KEEP, _values(unknown))\n",
            ),
        ),
        (
            "tests/defects/test_locks.py::test_an_event_that_another_process_is_keeping_is_a_duplicate_and_no_error",
            INTERLEAVINGS,
        ),
    ),
    Defect(
        "answer before the commit",
        "The provider hears that the event is safe, and a crash in that instant loses it.",
        (
            Change(f"{GATEWAY}/inbox/accept.py", "import hashlib\n", "import hashlib\nimport threading\n"),
            Change(
                f"{GATEWAY}/inbox/accept.py",
                f"    {KEEPING}\n    kept = inbox.keep(entry)\n",
                f"    {KEEPING}\n"
                "    threading.Timer(0.2, inbox.keep, [entry]).start()\n"
                "    kept = InsertResult(1, True, entry.body_sha256)\n",
            ),
        ),
        (f"{TESTS}/inbox/test_accept.py::test_a_new_event_is_kept_and_enqueued_and_wakes_the_relay[recording]",),
    ),
    Defect(
        "read before it is verified",
        "A stranger's bytes reach the parser, and a body that it cannot read is put aside although nobody signed it.",
        (
            Change(
                f"{GATEWAY}/inbox/accept.py",
                "    try:\n        proof = psp.verify(request)\n",
                "    try:\n        psp.parse(request)\n        proof = psp.verify(request)\n",
            ),
        ),
        ("tests/defects/test_order_of_steps.py::test_nothing_is_read_of_a_request_that_nobody_signed",),
    ),
    Defect(
        "memory of one process for what was seen",
        "An event whose first delivery could not be kept is called a duplicate when it comes again, and is lost.",
        (
            Change(
                f"{GATEWAY}/inbox/accept.py",
                "\n\ndef insert_once(",
                "\n\n_SEEN: set[str] = set()\n\n\ndef insert_once(",
            ),
            Change(
                f"{GATEWAY}/inbox/accept.py",
                f"    {KEEPING}\n    kept = inbox.keep(entry)\n",
                f"    {KEEPING}\n"
                "    if entry.dedupe_key in _SEEN:\n        return Receipt(AcceptStatus.DUPLICATE, 0)\n"
                "    _SEEN.add(entry.dedupe_key)\n    kept = inbox.keep(entry)\n",
            ),
        ),
        (
            "tests/defects/test_order_of_steps.py::test_an_event_that_could_not_be_kept_is_no_duplicate_when_it_comes_again",
            INTERLEAVINGS,
        ),
    ),
    Defect(
        "signatures compared as text",
        "How long the comparison takes shows a stranger how much of the signature is right.",
        (
            Change(
                f"{GATEWAY}/providers/signatures.py",
                "hmac.compare_digest(expected, signature)",
                "expected.hex() == signature.hex()",
            ),
        ),
        ("tests/defects/test_order_of_steps.py::test_proofs_are_compared_in_constant_time_alone",),
    ),
    Defect(
        "money as a float",
        "25.10 dinars are 2509 centimes then: the school and the student disagree about the rest.",
        (
            Change(
                f"{GATEWAY}/providers/fields.py",
                "isinstance(value, int) or isinstance(value, bool):\n"
                '        raise UnreadableEventError(f"{name} must be an',
                "isinstance(value, int | float) or value is True:\n"
                '        raise UnreadableEventError(f"{name} must be an',
            ),
            Change(
                f"{GATEWAY}/providers/fields.py",
                "    return value * minor_units\n",
                "    return int(value * minor_units)\n",
            ),
        ),
        ("tests/defects/test_order_of_steps.py::test_an_amount_with_a_decimal_point_is_put_aside",),
    ),
    Defect(
        "a late failure undoes what was collected",
        "Providers deliver in any order; the money would be taken from the student again.",
        (
            Change(
                f"{GATEWAY}/payments/payment_state.py",
                "    FAILED = 4\n    COMPLETED = 5\n",
                "    COMPLETED = 4\n    FAILED = 5\n",
            ),
        ),
        (f"{TESTS}/settlement/test_settle.py::test_a_late_failure_never_undoes_a_completed_payment", INTERLEAVINGS),
    ),
    Defect(
        "an event claimed without a lock",
        "Two workers settle the same event at the same time.",
        (
            Change(
                f"{GATEWAY}/settlement/sql.py",
                "WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE",
                "WHERE id = ANY($1::bigint[]) ORDER BY id",
            ),
        ),
        ("tests/defects/test_locks.py::test_an_event_belongs_to_one_settlement_until_its_end",),
    ),
    Defect(
        "a balance read without a lock",
        "Two payments of one user find the same balance, and neither sees what both together pay for.",
        (
            Change(
                f"{GATEWAY}/settlement/sql.py",
                "SELECT FROM users WHERE id = {_USERS} ORDER BY id FOR NO KEY UPDATE",
                "SELECT FROM users WHERE id = {_USERS} ORDER BY id",
            ),
        ),
        (
            "tests/defects/test_locks.py::test_a_users_balance_belongs_to_one_settlement_until_its_end",
            INTERLEAVINGS,
        ),
    ),
    Defect(
        "a subscription activated twice",
        "What runs already is paid for again with the next payment.",
        (
            Change(
                f"{GATEWAY}/settlement/sql.py",
                "WHERE user_id = {_USERS} AND status = 'pending_payment' ORDER BY",
                "WHERE user_id = {_USERS} AND status <> 'cancelled' ORDER BY",
            ),
        ),
        (
            f"{TESTS}/settlement/test_settlement_store.py::test_pending_subscriptions_come_oldest_first[in PostgreSQL]",
            INTERLEAVINGS,
        ),
    ),
    Defect(
        "the day of a payment in UTC",
        "What is paid after midnight in Algiers is counted on the day before.",
        (
            Change(
                f"{GATEWAY}/settlement/book_payment_notice.py",
                "at.astimezone(terms.zone).date()",
                "at.astimezone(UTC).date()",
            ),
        ),
        (f"{TESTS}/settlement/test_days.py::test_a_day_ends_at_the_schools_midnight",),
    ),
)

QUEUES = (
    Defect(
        "a confirm that nobody waits for",
        "What RabbitMQ refuses counts as sent, and its row goes.",
        (
            Change(
                "shared/messaging/publisher.py",
                "            self._settle(tag, confirmed=confirmed)\n",
                "            self._settle(tag, confirmed=True)\n",
            ),
        ),
        ("tests/messaging/test_publisher.py::test_what_a_full_queue_refuses_is_not_confirmed",),
    ),
    Defect(
        "a message acknowledged before its work is done",
        "A worker that dies in the middle takes the message with it.",
        (
            Change(
                "shared/messaging/broker.py",
                "            message.delivered_by = self\n",
                "            message.delivered_by = self\n            self.ack(message)\n"
                "            message.delivered_by = None\n",
            ),
        ),
        ("tests/messaging/test_broker.py::test_a_message_knows_how_often_it_was_delivered_before",),
    ),
    Defect(
        "an acknowledgement on another channel",
        "Delivery tags begin again after a reconnection: a job that ran on through it acknowledges somebody else's.",
        (
            Change(
                "shared/messaging/broker.py",
                "        if message.delivered_by is self:\n            self._done",
                "        if message.delivered_by:\n            self._done",
            ),
        ),
        (
            "tests/messaging/test_broker.py::test_a_late_acknowledgement_does_not_hit_the_message_that_bears_its_number_now",
        ),
    ),
    Defect(
        "a retry that fails and is forgotten",
        "dramatiq swallows what a middleware raises and acknowledges the message.",
        (
            Change(
                "shared/messaging/broker.py", "            message.fail()\n            raise\n", "            raise\n"
            ),
        ),
        ("tests/messaging/test_broker.py::test_a_retry_that_cannot_be_published_ends_in_the_dead_letter_queue",),
    ),
    Defect(
        "the outbox emptied before RabbitMQ answered",
        "A relay that is killed between the two has thrown the message away.",
        (
            Change(
                "shared/messaging/relay.py",
                '            failpoint("relay.after_claim")\n',
                "            connection.execute(delete(outbox).where(outbox.c.id.in_([row.id for row in rows])))\n"
                '            connection.commit()\n            failpoint("relay.after_claim")\n',
            ),
        ),
        (
            "tests/messaging/test_relay.py::test_a_relay_killed_at_any_step_loses_nothing[relay.after_claim]",
            INTERLEAVINGS,
        ),
    ),
)

LESSONS = (
    Defect(
        "the master published before its segments",
        "A player opens the lesson and finds files missing.",
        (
            Change(
                "services/transcoder/jobs/publish_playlists.py",
                "    for name, text in assembly.playlists.items():\n        if",
                "    for name, text in reversed(assembly.playlists.items()):\n        if",
            ),
        ),
        ("tests/defects/test_order_of_publishing.py",),
    ),
    Defect(
        "a part finished without its lease",
        "A worker that was taken for dead comes back and overwrites what another made meanwhile.",
        (
            Change(
                "services/transcoder/jobs/postgres_tasks.py",
                "chunks.c.id == lease.task_id, chunks.c.lease_owner == lease.owner, chunks.c.state.in_",
                "chunks.c.id == lease.task_id, chunks.c.state.in_",
            ),
        ),
        (
            "tests/transcoder/jobs/test_postgres_jobs.py::test_a_lease_that_is_over_can_be_taken_and_its_late_owner_changes_nothing",
        ),
    ),
)

BATCHES = (
    Defect(
        "one id of those that were committed together",
        "The others are kept and answered, and wait a minute until lost messages are enqueued again.",
        (
            Change(
                f"{GATEWAY}/inbox/postgres.py",
                "jsonb_agg(DISTINCT event.id ORDER BY event.id)",
                "jsonb_build_array(min(event.id))",
            ),
        ),
        (
            f"{TESTS}/inbox/test_postgres.py::test_what_is_kept_together_has_one_message_and_what_takes_long_one_of_its_own",
            INTERLEAVINGS,
        ),
    ),
    Defect(
        "a poisoned event that takes its neighbours along",
        "What one event raises ends the message, and the others of it are tried with it again and again.",
        (
            Change(
                f"{GATEWAY}/settlement/batched.py",
                "                verdicts[event_id] = self._postpone(event_id, error)\n",
                "                raise RuntimeError from error\n",
            ),
        ),
        (
            f"{TESTS}/settlement/test_batched.py::test_an_event_that_raises_when_it_is_read_keeps_no_other_of_its_message_waiting",
        ),
    ),
    Defect(
        "a message that cannot be read takes those read with it along",
        "Each of them waits for its next attempt, and is read together with it again.",
        (
            Change(
                f"{GATEWAY}/settlement/batched.py",
                "        return [_Left.ALONE] * len(messages)\n",
                "        raise\n",
            ),
        ),
        (
            f"{TESTS}/settlement/test_batched.py::test_a_message_that_cannot_be_read_keeps_none_of_those_read_with_it_waiting",
        ),
    ),
    Defect(
        "a batch that killed its worker delivered whole again",
        "It kills the next one too, until RabbitMQ gives up all of its events.",
        (
            Change(
                f"{GATEWAY}/worker.py",
                "        if len(message.event_ids) > 1 and was_delivered_before():\n",
                "        if len(message.event_ids) > 100 and was_delivered_before():\n",
            ),
        ),
        (f"{TESTS}/test_worker.py::test_events_whose_message_comes_again_are_enqueued_each_alone",),
    ),
    Defect(
        "ids lost at a split",
        "The message is acknowledged, and only one of its events has a message of its own.",
        (
            Change(
                f"{GATEWAY}/settlement/retry_due.py",
                "FROM webhook_events WHERE id = ANY(%(event_ids)s) AND state = 'received' ORDER BY id\n",
                "FROM webhook_events WHERE id = ANY(%(event_ids)s) AND state = 'received' ORDER BY id LIMIT 1\n",
            ),
        ),
        (
            f"{TESTS}/settlement/test_retry_due.py::test_those_of_a_batch_that_are_not_settled_are_enqueued_each_alone",
            INTERLEAVINGS,
        ),
    ),
    Defect(
        "a half of a batch acknowledged before its commit",
        "Events of a batch that failed are settled after the message is gone: who dies in between leaves them waiting.",
        (
            Change(
                f"{GATEWAY}/settlement/batched.py",
                "from collections.abc import Callable, Iterator,",
                "import threading\nfrom collections.abc import Callable, Iterator,",
            ),
            Change(
                f"{GATEWAY}/settlement/batched.py",
                "        verdicts.update(self._book_each(left))\n",
                "        half = len(left) // 2\n"
                "        verdicts.update(self._book_each(left[:half]))\n"
                "        threading.Timer(0.2, lambda: dict(self._book_each(left[half:]))).start()\n",
            ),
        ),
        (
            f"{TESTS}/settlement/test_batched.py::test_a_message_whose_batch_failed_is_done_when_each_event_is_committed",
            f"{TESTS}/settlement/test_batched.py::test_one_that_cannot_be_booked_leaves_the_others_of_its_batch_their_money",
        ),
    ),
    Defect(
        "the first payment of a batch announced alone",
        "The days of the others keep numbers that are wrong.",
        (
            Change(
                f"{GATEWAY}/settlement/postgres.py",
                "        self._announced[payment_id, day] = None\n",
                "        self._announced = self._announced or {(payment_id, day): None}\n",
            ),
        ),
        (
            f"{TESTS}/settlement/test_batched.py::test_the_events_of_one_message_are_settled_in_one_transaction_and_announced_once",
            INTERLEAVINGS,
        ),
    ),
)

DEFECTS = (*MONEY, *BATCHES, *QUEUES, *LESSONS)
