"""Faults of the simulated provider's API, switched on over HTTP: slow, limited, broken, nonsense, another order."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, jsonify, request

#: How long a slow answer takes by default, and how long a dripping one goes on at most.
SLOW_SECONDS: Final = 15.0
DRIP_SECONDS: Final = 60.0
KINDS: Final = ("slow", "drip", "limited", "broken", "garbage", "other")


@dataclass(slots=True)
class _Fault:
    kind: str
    left: float
    seconds: float


class Faults:
    """What the APIs below each path do wrong now. Also counts the questions, answered well or not."""

    def __init__(self) -> None:
        self._faults: dict[str, _Fault] = {}
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def answer_instead(self, api: str) -> Response | None:
        """The wrong answer to a question at `api`, or None where it may be answered well."""
        with self._lock:
            self._asked[api] += 1
            fault = self._faults.get(api)
            if fault is None or fault.left < 1:
                return None
            fault.left -= 1
        return _WRONG[fault.kind](fault)

    def pages(self) -> Blueprint:
        """`POST /simulator/faults/<api>/<kind>?times=&seconds=` switches one on, `DELETE /simulator/faults` all off."""
        pages = Blueprint("faults", __name__)

        @pages.post(f"/simulator/faults/<api>/<any({', '.join(KINDS)}):kind>")
        def switch_on(api: str, kind: str) -> Response:
            times = request.args.get("times", float("inf"), type=float)
            seconds = request.args.get("seconds", SLOW_SECONDS, type=float)
            with self._lock:
                self._faults[api] = _Fault(kind, times, seconds)
            return jsonify(api=api, kind=kind)

        @pages.delete("/simulator/faults")
        def switch_off() -> Response:
            with self._lock:
                self._faults.clear()
            return jsonify(api=None)

        @pages.get("/simulator/asked")
        def show_asked() -> Response:
            with self._lock:
                return jsonify(self._asked)

        return pages


def _slow(fault: _Fault) -> None:
    time.sleep(fault.seconds)


def _drip(fault: _Fault) -> Response:
    def pieces() -> Iterator[bytes]:
        until = time.monotonic() + DRIP_SECONDS
        while time.monotonic() < until:
            yield b" "
            time.sleep(0.2)

    return Response(pieces(), mimetype="application/json")


def _limited(fault: _Fault) -> Response:
    return Response("{}", 429, {"Retry-After": str(int(fault.seconds))}, mimetype="application/json")


def _broken(fault: _Fault) -> Response:
    return Response("Internal Server Error", 500)


def _garbage(fault: _Fault) -> Response:
    return Response("<html>Maintenance</html>", mimetype="text/html")


def _other(fault: _Fault) -> Response:
    return jsonify(id="another-checkout", status="paid", amount=1, currency="dzd", livemode=False)


_WRONG: Final[dict[str, Callable[[_Fault], Response | None]]] = {
    "slow": _slow,
    "drip": _drip,
    "limited": _limited,
    "broken": _broken,
    "garbage": _garbage,
    "other": _other,
}
