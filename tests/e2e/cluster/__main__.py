"""`make cluster-test`: kills, pauses and cuts off nodes under payments, and prints how long each recovery took."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import click
from rich.console import Console

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.faults import Fault, faults, roll_all
from tests.e2e.cluster.payments import Payments, longest_silence
from tests.e2e.cluster.report import Report, Row
from tests.e2e.cluster.scaling import scale_in
from tests.e2e.compose.load import await_lesson, upload_lesson

UP_SECONDS = 1200
#: Until nodes that came back take part again, and what was left behind is settled.
WHOLE_SECONDS = 180
#: A transcoder that was replaced gives its chunk back at once; what a dead one had is given out again after minutes.
LESSON_SECONDS = 400
WARM_UP_SECONDS = 10.0

Progress = Callable[[str], None]
#: A fault, when it began and when everything was whole again.
Window = tuple[str, bool, float, float]


@click.command()
@click.option("--rate", default=200.0, show_default=True, help="Webhooks a second.")
@click.option("--short", is_flag=True, help="A primary and a broker are killed, two workers scaled in.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(rate: float, short: bool, as_json: bool) -> None:
    """Start a cluster of its own, break it under load, print the table. Exits with 1 where a bar is missed."""
    console = Console(stderr=True, highlight=False)
    report = Report(rate)
    began = time.monotonic()

    def progress(what: str) -> None:
        console.print(f"{time.monotonic() - began:4.0f} s  {what}")

    with _cluster(progress) as cluster:
        try:
            play(cluster, report, short=short, progress=progress)
        except (AssertionError, subprocess.SubprocessError) as error:
            report.faults.append(str(error))
    report.seconds = time.monotonic() - began
    if as_json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        report.show(Console(width=150))
    sys.exit(0 if report.is_good else 1)


@contextlib.contextmanager
def _cluster(progress: Progress) -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        cluster.up(UP_SECONDS)
        progress("the cluster is up")
        yield cluster
    finally:
        cluster.down()


def play(cluster: Cluster, report: Report, *, short: bool, progress: Progress) -> None:
    """Play all faults and fill `report`."""
    cluster.await_whole(WHOLE_SECONDS)
    # a day is computed again only where it was computed before
    cluster.run("exec", "--no-TTY", "stats-worker", "nouba", "stats", "compute", _yesterday())
    lessons: list[str] = []
    windows: list[Window] = []
    with Payments(cluster, report.rate) as payments:
        first = time.time()
        time.sleep(WARM_UP_SECONDS)
        try:
            for fault in faults(cluster, short=short):
                _work(cluster, lessons)
                windows.append(_play(fault, cluster, payments, progress))
            windows.append(_scale_in(cluster, payments, report, progress))
            if not short:
                _work(cluster, lessons)
                windows.append(_roll(cluster, payments, progress))
        except (AssertionError, subprocess.SubprocessError) as error:
            # what was played until now is reported all the same
            report.faults.append(str(error))
            progress(f"stopped: {error}")
        report.reached = len(payments.sent.accepted) / (time.time() - first)
    try:
        payments.await_settled(WHOLE_SECONDS)
    finally:
        _count(cluster, payments, windows, report)
    _check_work(cluster, lessons, report)
    report.ledger = _verify(cluster, report)


def _play(fault: Fault, cluster: Cluster, payments: Payments, progress: Progress) -> Window:
    node = fault.node()
    start = time.time()
    fault.begin(node)
    progress(f"{fault.name}: {node}")
    time.sleep(fault.outage_seconds)
    fault.end(node)
    cluster.await_whole(WHOLE_SECONDS)
    payments.await_flow(WHOLE_SECONDS)
    progress(f"  whole again after {time.time() - start:.0f} s")
    return fault.name, fault.has_promotion, start, time.time()


def _roll(cluster: Cluster, payments: Payments, progress: Progress) -> Window:
    start = time.time()
    progress("every service is replaced")
    progress(f"  replaced: {roll_all(cluster)}")
    payments.await_flow(WHOLE_SECONDS)
    return "every service replaced, three at a time", False, start, time.time()


def _scale_in(cluster: Cluster, payments: Payments, report: Report, progress: Progress) -> Window:
    start = time.time()
    progress("a transcoder and a payments worker are scaled in")
    report.scaled = scale_in(cluster, LESSON_SECONDS)
    progress(f"  {report.scaled}")
    payments.await_flow(WHOLE_SECONDS)
    return "transcoder and payments worker scaled in", False, start, time.time()


def _work(cluster: Cluster, lessons: list[str]) -> None:
    """Have a film transcoded and a day counted while something fails."""
    lessons.append(upload_lesson(cluster))
    cluster.run("exec", "--no-TTY", "stats-worker", "nouba", "stats", "invalidate", _yesterday())


def _count(cluster: Cluster, payments: Payments, windows: list[Window], report: Report) -> None:
    booked = payments.booked()
    moments = [one.booked_at for one in booked.values() if one.booked_at is not None]
    promotions = cluster.promoted_at()
    ends = [*(start for _, _, start, _ in windows), float("inf")][1:]
    for (name, has_promotion, start, whole), end in zip(windows, ends, strict=True):
        begin = start if report.rows else 0.0
        numbers = [number for number, at in payments.sent.accepted.items() if begin <= at < end]
        silent_from, silent_to = longest_silence(moments, start, whole)
        promoted = next((at - start for at in promotions if start <= at < whole), None)
        refused, p99_ms = payments.answers_between(begin, end)
        if has_promotion and promoted is None:
            report.faults.append(f"{name}: no standby was promoted")
        twice = sum(
            booked[number].times > 1 or booked[number].amount_minor > payments.amount_minor(number)
            for number in numbers
            if number in booked
        )
        lost = sum(number not in booked or booked[number].times == 0 for number in numbers)
        report.rows.append(
            Row(name, silent_to - silent_from, promoted, dict(refused), p99_ms, len(numbers), lost, twice)
        )


def _check_work(cluster: Cluster, lessons: list[str], report: Report) -> None:
    statuses = [await_lesson(cluster, course, LESSON_SECONDS)[0] for course in lessons]
    report.films = f"{statuses.count('completed')} of {len(statuses)} films transcoded."
    if set(statuses) != {"completed"}:
        report.faults.append(f"films: {statuses}")
    verified = cluster.ask("exec", "--no-TTY", "stats-worker", "nouba", "stats", "verify", _yesterday())
    report.days = "Statistics verified." if verified.returncode == 0 else "Statistics differ."
    if verified.returncode:
        report.faults.append(verified.stdout[-500:] + verified.stderr[-500:])
    dead = cluster.sql("nouba", "SELECT count(*) FROM dead_letters WHERE state = 'dead'").stdout.strip()
    if dead != "0":
        report.faults.append(f"{dead} messages are dead")


def _verify(cluster: Cluster, report: Report) -> str:
    found = cluster.ask(
        "exec", "--no-TTY", "payments-worker", "nouba", "ledger", "verify", timeout_seconds=WHOLE_SECONDS
    )
    last = (found.stdout.strip().splitlines() or [found.stderr[-500:]])[-1]
    if found.returncode or " 0 faults" not in last:
        report.faults.append(found.stdout[-2000:])
    return last


def _yesterday() -> str:
    return (datetime.now(ZoneInfo("Africa/Algiers")) - timedelta(days=1)).date().isoformat()


if __name__ == "__main__":
    main()
