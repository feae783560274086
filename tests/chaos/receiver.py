"""The school's program that receives Nouba's events, and fails at times: it is the school's, so nobody strikes it."""

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from standardwebhooks import Webhook, WebhookVerificationError

from local.free_port import HOST

#: How a request ends badly, of a thousand: 500, no answer, taken and no answer, later than anybody waits for.
_SHARES: Final = {"refuse": 25, "hang_up": 10, "take_and_hang_up": 10, "be_late": 2}
#: Now and then it refuses so many in a row, which holds an endpoint for 15 s: so often at the most in one run, or what
#: a long one sends would take hours to get through.
_SPELL, _SPELL_SHARE, _MAX_SPELLS = 6, 1, 50
#: Longer than the events worker waits in a run (`NOUBA_EVENTS_TIMEOUT_SECONDS`).
TIMEOUT_SECONDS, LATE_SECONDS = 1.0, 1.5


@dataclass(slots=True)
class Receiver:
    """What came and was taken; `events` has each event's body by its id, `faults` what no sender may do."""

    seed: int
    url: str = ""
    #: Of its endpoint, once it has one.
    secret: str = ""
    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _dice: random.Random = field(init=False)
    _spell: int = 0
    _spells: int = 0

    def __post_init__(self) -> None:
        self._dice = random.Random(f"receiver {self.seed}")

    @classmethod
    @contextmanager
    def listening(cls, seed: int) -> "Iterator[Receiver]":
        receiver = cls(seed)
        server = ThreadingHTTPServer((HOST, 0), _handler(receiver))
        server.daemon_threads = True
        receiver.url = f"http://{HOST}:{server.server_address[1]}/events"
        thread = threading.Thread(target=server.serve_forever, name="receiver", daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def choose(self) -> str:
        """How the next request ends."""
        with self._lock:
            if self._spell:
                self._spell -= 1
                return "refuse"
            if self._dice.random() * 1000 < _SPELL_SHARE and self._spells < _MAX_SPELLS:
                self._spell = _SPELL
                self._spells += 1
            kinds = [*_SHARES, "take"]
            return self._dice.choices(kinds, [*_SHARES.values(), 1000 - sum(_SHARES.values())])[0]

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Keep it, as a school would: verified, once for each id."""
        try:
            event = Webhook(self.secret).verify(body, headers)
        except WebhookVerificationError as error:
            with self._lock:
                self.faults.append(f"{headers.get('webhook-id')} is not signed: {error}")
            return
        with self._lock:
            number = int(event["id"].removeprefix("evt_"))
            if headers["webhook-id"] != event["id"]:
                self.faults.append(f"{event['id']} came as {headers['webhook-id']}")
            if self.events.setdefault(number, event) != event:
                self.faults.append(f"{event['id']} came with two bodies")

    def count(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            outcome = receiver.choose()
            receiver.count(outcome)
            if outcome in ("take", "take_and_hang_up", "be_late"):
                receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
            if outcome in ("hang_up", "take_and_hang_up"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if outcome == "be_late":
                time.sleep(LATE_SECONDS)
            try:
                self.send_response(500 if outcome == "refuse" else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True  # a worker that was killed, or that no longer waits

        def log_message(self, *_: object) -> None: ...

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

    return Handler
