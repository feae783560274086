# ruff: noqa: E501 - a page is one line a paragraph
"""Generates docs/background-threads.md, the background threads of every process, for `python -m` to print."""

from dataclasses import dataclass

_HEAD = """\
# Background threads

Each duty of a process has a thread of its own, which never ends by itself: it survives every exception and runs again. `python -m deploy.background_threads` generates this page, and `tests/operations/test_background_threads.py` breaks each duty of each real process in turn: it fails, it ends, it hangs with a database connection in hand.

| the duty | it itself | every other duty of the process | who notices |
|---|---|---|---|
| fails (an exception in each round) | is logged once a minute, counted in `nouba_thread_failures_total`, and runs again within 5 s | goes on | alert `BackgroundThreadStuck`, one minute after *late after* |
| ends (an exception that would end a thread) | the same: the thread does not end | goes on | the same |
| hangs (no answer, and a connection held) | waits; nothing is counted | goes on | the same alert, since its last success grows old |
| is slow (a round that takes long, and then succeeds) | is late by that much | goes on | nobody, while a round takes less than *late after* |

*Late after* is `nouba_thread_late_after_seconds`. The last column says what waits meanwhile; all of it is done later, from PostgreSQL. Of several workers each has these threads, so that one that hangs delays nothing that another can do.
"""


@dataclass(frozen=True, slots=True)
class Duty:
    """One background thread of a process."""

    thread: str
    late_after_seconds: float
    waits: str


def _relay(service: str, *queues: str) -> tuple[Duty, ...]:
    lanes = tuple(
        Duty(
            f"relay {service} {queue}", 121, f"messages for `{queue}` wait in the outbox; other processes publish them"
        )
        for queue in queues
    )
    return (*lanes, Duty(f"relay {service}", 125, "the outbox's gauges are old"))


_LETTERS = (
    Duty("dead letters", 120.5, "dead messages wait in their `.XQ`"),
    Duty("queue pauses", 121, "a pause or its end is obeyed later"),
)
#: By process. Their names are those of `COMMANDS` in the test, which compares each with the running process.
DUTIES: dict[str, tuple[Duty, ...]] = {
    "gateway": (
        *_relay("gateway", "default", "events", "videos", "webhooks"),
        Duty("spool drain", 120.5, "webhooks that were stored while the database was away stay in the spool"),
    ),
    "payments worker": (
        *_relay("gateway", "default", "events", "videos", "webhooks"),
        Duty("due events", 121, "parked webhooks are not tried again"),
        Duty("lost messages", 130, "webhooks whose message RabbitMQ lost wait for `due events`"),
        Duty("corrections", 121, "corrections that operators enter are not booked"),
        Duty("payouts", 121, "payouts that operators record are not booked"),
        *_LETTERS,
        Duty("refunds", 121, "refunds that operators request are not begun"),
        Duty(
            "asking satim",
            121,
            "pending payments at this provider are not polled; each provider that can be polled has two",
        ),
        Duty("wallets", 130, "subscriptions that a wallet covers in the meantime stay pending"),
        Duty("sealing", 1200, "new rows are not in the hash chain; another worker is elected where the process dies"),
        Duty("invariants", 1200, "a broken invariant is not reported; likewise elected"),
        Duty("retention", 720, "what is past its retention stays"),
        Duty("anchoring", 1200, "the head of the chain is not stored elsewhere; only with `NOUBA_LEDGER_ANCHOR`"),
    ),
    "events worker": (
        *_relay("gateway", "default", "events", "videos", "webhooks"),
        Duty("event fan-out", 120.2, "new events get no deliveries"),
        Duty("events due", 121, "deliveries that failed are not tried again"),
        Duty("ended terms", 180, "`subscription.expired` is recorded later"),
        Duty("old events", 720, "old events stay"),
        Duty("events count", 125, "the gauges of events are old"),
        *_LETTERS,
    ),
    "transcoder worker": (
        *_relay("transcoder", "default", "videos"),
        Duty("due tasks", 121, "leases of dead workers are released by the other workers alone"),
        Duty("scratch space", 121, "uploads of ended jobs take up scratch space"),
        Duty("cleaning", 121, "objects of failed jobs stay in S3"),
        Duty("backlog", 125, "the gauges of jobs are old"),
        Duty("orphans", 14_400, "replaced lessons stay in S3"),
        Duty("retention", 14_400, "uploads past their retention stay in S3"),
        Duty("old uploads", 14_400, "parts of uploads that were never completed stay in S3"),
        Duty("requests", 121, "cancel, retry, delete and captions wait for another worker"),
        *_LETTERS,
    ),
    "statistics worker": (*_relay("stats", "default"), *_LETTERS),
    "statistics API": (
        Duty("cache refresh", 121, "answers come from memory and grow old"),
        Duty("cache age", 121, "the gauge of the cache's age is old"),
    ),
    "playback": (Duty("lesson views", 123, "reports of players wait in memory"),),
}
#: Threads that only some installations have.
OPTIONAL = {
    "captions": ("transcoder worker", "with `NOUBA_WHISPER_MODEL`: lessons get no automatic captions"),
}


def page() -> str:
    """docs/background-threads.md."""
    lines = [_HEAD]
    for process, duties in DUTIES.items():
        lines += [
            f"## {process[0].upper()}{process[1:]}",
            "",
            "| thread | late after | what waits meanwhile |",
            "|---|---|---|",
        ]
        lines += [f"| `{duty.thread}` | {duty.late_after_seconds:,g} s | {duty.waits} |" for duty in duties]
        lines += [
            f"\n`{thread}` exists only {waits}." for thread, (where, waits) in OPTIONAL.items() if where == process
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
