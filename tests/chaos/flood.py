"""A gateway under attack: slow senders and forged signatures beside the payments that have to get through."""

import contextlib
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from bench import webhooks
from bench.load import Outcome, request, send
from bench.running import NOUBA, postgres, rabbitmq, running
from local.free_port import HOST, accepts, free_port
from tests.chaos.comparison import Rows

#: What an answer to a payment may take while the flood lasts.
GOAL_P99_MS = 200.0
#: What the gateway's processes may grow by, all together.
GROWTH_LIMIT_BYTES = 300 * 1024 * 1024
_WARMING = 50
_DRIP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """How much of each comes in, by the second, and for how long."""

    valid_per_second: int = 100
    forged_per_second: int = 2000
    slow_sockets: int = 200
    seconds: float = 20.0


@dataclass(slots=True)
class Withstood:
    """What came of it; bytes are of all processes of the gateway together."""

    flood: Flood
    valid_statuses: dict[int, int] = field(default_factory=dict)
    valid_ms: dict[str, float] = field(default_factory=dict)
    alone_ms: dict[str, float] = field(default_factory=dict)
    forged_statuses: dict[int, int] = field(default_factory=dict)
    forged_per_second: float = 0.0
    slow_cut_off: int = 0
    kept: int = 0
    memory_before_bytes: int = 0
    memory_most_bytes: int = 0

    @property
    def faults(self) -> list[str]:
        """What must not be; how long an answer took is a figure of the machine, and no fault."""
        faults = []
        if set(self.valid_statuses) != {200}:
            faults.append(f"payments were answered {self.valid_statuses}, not 200 alone")
        if self.kept != sum(self.valid_statuses.values()):
            faults.append(f"{sum(self.valid_statuses.values())} payments were sent, {self.kept} are kept")
        if any(status not in (401, 429) for status in self.forged_statuses):
            faults.append(f"forgeries were answered {self.forged_statuses}, not 401 or 429 alone")
        if self.memory_most_bytes - self.memory_before_bytes > GROWTH_LIMIT_BYTES:
            faults.append(f"memory grew from {self.memory_before_bytes:,} to {self.memory_most_bytes:,} bytes")
        return faults

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "goal_p99_ms": GOAL_P99_MS, "faults": self.faults}

    def show(self, console: Console) -> None:
        """The figures, and what must not be."""
        flood, mib = self.flood, 1024 * 1024
        console.print(
            f"{sum(self.valid_statuses.values()):,} payments at {flood.valid_per_second}/s: answered "
            f"{self.valid_statuses}, p50 {self.valid_ms['p50']} ms, p99 {self.valid_ms['p99']} ms (goal "
            f"{GOAL_P99_MS:.0f}), longest {self.valid_ms['max']} ms; alone p99 {self.alone_ms['p99']} ms.\n"
            f"Forgeries: {self.forged_per_second:.0f}/s of {flood.forged_per_second}/s, answered "
            f"{self.forged_statuses}. {flood.slow_sockets} slow sockets, cut off {self.slow_cut_off} times.\n"
            f"Memory of the gateway: {self.memory_before_bytes / mib:.0f} MiB before, "
            f"{self.memory_most_bytes / mib:.0f} MiB at the most.",
            highlight=False,
        )
        for fault in self.faults:
            console.print(f"[red]{fault}[/red]", highlight=False)


def withstand(flood: Flood, folder: Path, notify: Callable[[str], None]) -> Withstood:
    """Start a gateway with its servers, measure payments alone, then under the flood."""
    notify("starting the servers")
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgres(folder))
        broker = stack.enter_context(rabbitmq(folder))
        port = free_port()
        settings = {
            **webhooks.SETTINGS,
            "NOUBA_DATABASE_URL": database.url,
            "NOUBA_RABBITMQ_URL": broker.url,
            "NOUBA_GATEWAY_PORT": str(port),
        }
        gateway = stack.enter_context(running([NOUBA, "gateway", "serve"], settings, folder / "gateway.log"))
        gateway.wait(partial(accepts, port), "does not listen")
        send(port, webhooks.make(_WARMING), connections=8).require(200)
        found = Withstood(flood)
        notify("payments alone")
        alone = _pay(port, flood)
        found.alone_ms = _quantiles(alone)
        notify("payments in the flood")
        with _measuring(gateway.family, found), _dripping(port, found), _forging(port, found):
            time.sleep(1)  # until the flood is there
            paid = _pay(port, flood)
        found.valid_statuses, found.valid_ms = dict(paid.statuses), _quantiles(paid)
        all_kept = int(Rows(database.url).one("SELECT count(*) FROM webhook_events"))
        found.kept = all_kept - _WARMING - sum(alone.statuses.values())
        return found


def _pay(port: int, flood: Flood) -> Outcome:
    requests = webhooks.make(round(flood.valid_per_second * flood.seconds))
    return send(port, requests, connections=16, rate=flood.valid_per_second)


@contextlib.contextmanager
def _forging(port: int, found: Withstood) -> Iterator[None]:
    """Another process sends what nobody signed: its work must not be taken for the gateway's."""
    flood = found.flood
    count = round(flood.forged_per_second * (flood.seconds + 2))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_forge, args=(port, count, flood.forged_per_second, sender), daemon=True)
    process.start()
    try:
        yield
        if receiver.poll(60):
            found.forged_statuses, found.forged_per_second = receiver.recv()
    finally:
        process.kill()
        process.join()


def _forge(port: int, count: int, rate: float, sender: Any) -> None:
    headers = {"Content-Type": "application/json", "X-Signature": "0" * 64}
    forged = request("POST", "/webhooks/generic", headers, b'{"transaction_id": "t", "amount": 1}' + b" " * 900)
    outcome = send(port, [forged] * count, connections=32, rate=rate)
    sender.send((dict(outcome.statuses), outcome.per_second))


@contextlib.contextmanager
def _dripping(port: int, found: Withstood) -> Iterator[None]:
    """Sockets that send a head and then a byte a second; anyone who is cut off comes again."""
    stop = threading.Event()
    head = b"POST /webhooks/generic HTTP/1.1\r\nHost: slow\r\nContent-Length: 5000\r\nX-Signature: 0\r\n\r\n"

    def drip() -> None:
        sockets: list[socket.socket | None] = [None] * found.flood.slow_sockets
        while not stop.wait(_DRIP_SECONDS):
            for place, one in enumerate(sockets):
                try:
                    if one is None:
                        sockets[place] = one = socket.create_connection((HOST, port), timeout=5)
                        one.sendall(head)
                    one.send(b"x")
                    one.setblocking(False)
                    if not _is_silent(one):
                        raise ConnectionResetError
                except OSError:
                    found.slow_cut_off += 1
                    if one is not None:
                        one.close()
                    sockets[place] = None
        for one in sockets:
            if one is not None:
                one.close()

    thread = threading.Thread(target=drip, name="slow senders")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _is_silent(one: socket.socket) -> bool:
    """Whether the gateway has neither answered nor hung up."""
    try:
        one.recv(4096)
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def _measuring(processes: list[psutil.Process], found: Withstood) -> Iterator[None]:
    """Check the gateway's memory all the while."""
    stop = threading.Event()
    found.memory_before_bytes = found.memory_most_bytes = _memory(processes)

    def check() -> None:
        while not stop.wait(0.25):
            found.memory_most_bytes = max(found.memory_most_bytes, _memory(processes))

    thread = threading.Thread(target=check, name="memory")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _memory(processes: list[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes if process.is_running())


def _quantiles(outcome: Outcome) -> dict[str, float]:
    cuts = statistics.quantiles(outcome.latencies_ms, n=100, method="inclusive")
    longest = max(outcome.latencies_ms)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1), "max": round(longest, 1)}
