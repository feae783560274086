"""`make backup-drill`: play a disaster and its restore on servers of its own, and print the table."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from local.backup_drill.database import BackedUpPostgres, folder_of
from local.backup_drill.objects import MirroredBucket
from local.backup_drill.traffic import Traffic
from local.psp.satim_client import SatimClient
from local.stack import PROJECT, Stack

USERS = 5
ORDER_MINOR = 50_000
#: How long the way back may take once both servers are there again.
SETTLED_WITHIN_SECONDS = 60
_NOUBA = Path(sys.executable).parent / "nouba"


class Drill:
    """One drill in a folder: each step is a method, and leaves a row of the table."""

    def __init__(self, home: Path) -> None:
        given = {name: value for name, value in os.environ.items() if not name.startswith(("NOUBA_", "AWS_"))}
        procfile = PROJECT / "local/backup_drill/Procfile"
        self.stack = Stack({**given, "NOUBA_HOME": str(home), "NOUBA_LOCAL_PROCFILE": str(procfile)})
        self.database = BackedUpPostgres(self.stack.postgres)
        self.objects = MirroredBucket(self.stack.s3, home / "bucket-copy")
        self.rows: list[tuple[str, str, float]] = []
        self.kept: dict[str, bytes] = {}

    def play(self) -> bool:
        """Everything, in order. Whether nothing is missing at the end."""
        with self._step("start servers, gateway, payments worker and a provider"):
            self.stack.postgres.start()
            self.database.archive_wal()
            self.stack.up(lambda _line: None)
            self.environment = self.stack.environment()
            self._enrol()
        traffic = Traffic(self.environment, self.users)
        traffic.start()
        try:
            with self._step("base backup and copy of S3, while webhooks arrive"):
                self._wait_for(lambda: len(traffic.sent) >= 20)
                self.database.back_up()
                self._put_objects("before")
            target = self._go_on_until_the_disaster(traffic)
            self._restore(traffic, target)
        finally:
            traffic.stop()
        self._replay(traffic, target)
        return self._prove(traffic)

    def _enrol(self) -> None:
        self.users = [
            int(row[0])
            for number in range(USERS)
            for row in self.database.rows("INSERT INTO users (name) VALUES (%s) RETURNING id", f"student {number}")
        ]
        environment = self.environment
        self.orders = SatimClient(
            environment["NOUBA_PSP_SATIM_BASE_URL"],
            username=environment["NOUBA_PSP_SATIM_USERNAME"],
            password=environment["NOUBA_PSP_SATIM_PASSWORD"],
            terminal=environment["NOUBA_PSP_SATIM_TERMINAL"],
        )
        self.order = self.orders.open("DRILL1", ORDER_MINOR)
        self.database.rows(
            "INSERT INTO payments (provider, provider_reference, order_number, user_id, amount_minor)"
            " VALUES ('satim', %s, 'DRILL1', %s, %s)",
            self.order,
            self.users[0],
            ORDER_MINOR,
        )

    def _go_on_until_the_disaster(self, traffic: Traffic) -> datetime:
        with self._step("webhooks up to the target time, and past it; one order is paid at the bank"):
            self._wait_for_more(traffic, 40)
            target = self.database.now()
            self._put_objects("after")
            self.orders.end(self.order)
            self._wait_for_more(traffic, 40)
            self.database.archive_the_rest()
        with self._step("disaster: PostgreSQL and S3 are killed, their data is gone"):
            self.database.lose()
            self.objects.lose()
            self._wait_for(lambda: sum(one.is_spooled for one in traffic.sent) >= 20)
        return target

    def _restore(self, traffic: Traffic, target: datetime) -> None:
        with self._step("restore PostgreSQL to the target time"):
            self.database.restore(target)
        ((kept,),) = self.database.rows("SELECT count(*) FROM webhook_events")
        answered = sum(one.status == 200 and not one.is_spooled for one in traffic.sent)
        self._note(f"the restored inbox lacks {max(answered - kept, 0)} of {answered} webhooks that were answered")
        with self._step("the spool drains by itself, while webhooks arrive"):
            self._wait_for(lambda: not traffic.sent[-1].is_spooled)
            spooled = "SELECT count(*) FROM webhook_events WHERE drained_at IS NOT NULL"
            waiting = sum(one.is_spooled for one in traffic.sent)
            self._wait_for(lambda: self.database.rows(spooled)[0][0] >= waiting)
            self._note(f"{waiting} webhooks")
        with self._step("restore S3 from its copy"):
            self._note(f"{self.objects.restore()} objects")

    def _replay(self, traffic: Traffic, target: datetime) -> None:
        with self._step("the provider sends everything since the target time again"):
            accepted, known = traffic.send_again(target - timedelta(seconds=5))
            self._note(f"{accepted} were missing, {known} were there")
        with self._step("the bank is asked about unfinished orders"):
            self._nouba("gateway", "poll-pending", "--older-than", "0s")

    def _prove(self, traffic: Traffic) -> bool:
        expected = [
            (user, traffic.paid_minor(user) + (ORDER_MINOR if user == self.users[0] else 0)) for user in self.users
        ]
        balances = "SELECT id, balance_minor FROM users ORDER BY id"
        with self._step("everything is settled once"):
            settled = self._wait_for(lambda: self.database.rows(balances) == expected, or_fail=False)
            ((events, doubled),) = self.database.rows(
                "SELECT count(*), count(*) - count(DISTINCT dedupe_key) FROM webhook_events WHERE provider = 'generic'"
            )
            refused = sum(one.status != 200 for one in traffic.sent)
            self._note(f"{len(traffic.sent)} webhooks sent, {refused} refused, {events} kept, {doubled} twice")
        with self._step("nouba ledger verify"):
            report = json.loads(self._nouba("ledger", "verify", "--json"))
            self._note(f"{report['seals']} seals, {len(report['faults'])} faults")
        whole = self.objects.is_whole(self.kept)
        self._note(f"S3: {len(self.kept)} objects, {'all as they were' if whole else 'not as they were'}")
        return settled and whole and not report["faults"] and refused == 0 and events == len(traffic.sent)

    def _put_objects(self, name: str) -> None:
        for number in range(10):
            key, body = f"hls/1/{name}/{number:05}.m4s", os.urandom(20_000)
            self.objects.put(key, body)
            self.kept[key] = body
        self.objects.mirror()

    def _nouba(self, *arguments: str) -> str:
        environment = {**os.environ, **self.environment}
        done = subprocess.run([_NOUBA, *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise click.ClickException(
                f"nouba {' '.join(arguments)} failed: {done.stdout.strip()} {done.stderr.strip()}"
            )
        return done.stdout

    def _wait_for_more(self, traffic: Traffic, count: int) -> None:
        wanted = len(traffic.sent) + count
        self._wait_for(lambda: len(traffic.sent) >= wanted)

    def _wait_for(self, is_so: Callable[[], bool], *, or_fail: bool = True) -> bool:
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                if or_fail:
                    raise click.ClickException(f"After {SETTLED_WITHIN_SECONDS} s it is not so: {self.rows[-1][0]}")
                return False
            time.sleep(0.1)
        return True

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        self.rows.append((name, "", 0.0))
        place = len(self.rows) - 1
        yield
        self.rows[place] = (name, self.rows[place][1], time.monotonic() - began)

    def _note(self, text: str) -> None:
        name, before, seconds = self.rows[-1]
        self.rows[-1] = (name, f"{before}; {text}" if before else text, seconds)


@click.command()
def drill() -> None:
    """Lose PostgreSQL and S3 under traffic, restore both, replay, verify. Exit status 0 only if nothing is missing."""
    home = Path(tempfile.mkdtemp(prefix="nouba-drill-"))
    found = Drill(home)
    began = time.monotonic()
    try:
        is_whole = found.play()
    finally:
        found.stack.down()
        # below another place where servers run as another account
        shutil.rmtree(folder_of(found.stack.postgres), ignore_errors=True)
        found.stack.s3.destroy()
        shutil.rmtree(home, ignore_errors=True)
        _print(found, time.monotonic() - began)
    if not is_whole:
        sys.exit("Something is missing: see the table.")


def _print(found: Drill, seconds: float) -> None:
    table = Table("step", "found", "s", title=f"Backup drill: {seconds:.0f} s", title_justify="left")
    for name, note, took in found.rows:
        table.add_row(name, note, f"{took:.1f}")
    Console(width=None if sys.stdout.isatty() else 150).print(table)


if __name__ == "__main__":
    drill()
