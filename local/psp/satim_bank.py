"""The bank behind the simulated SATIM: orders, what payers do with them, and what happens when nobody confirms."""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from local.psp.bodies import digest

#: The simulator a test can wait for; the real delay is not published, another simulator has twenty minutes.
AUTO_CANCEL_SECONDS: Final = 1200.0
MINIMUM_MINOR: Final = 5000
REGISTERED, PAID, REVERSED, REFUNDED, DECLINED = 0, 2, 3, 4, 6
#: What a payer can do: the order's new state, the platform's action code, and its words.
ACTIONS: Final[Mapping[str, tuple[int, int, str]]] = {
    "pay": (PAID, 0, "Votre paiement a été accepté"),
    "decline": (DECLINED, 2003, "Paiement refusé"),
    "cancel": (DECLINED, 10, "Paiement annulé par le client"),
    "expire": (REGISTERED, -2007, "Session expirée"),
    # the answer of SATIM's certification that says yes and no at once
    "reject": (REVERSED, 0, "Votre transaction a été rejetée"),
}


class RefusedError(Exception):
    """The bank says no, with its number for why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Order:
    """One order. `since` is when its state last changed, on the bank's clock."""

    md_order: str
    order_number: str
    amount_minor: int
    return_url: str
    fail_url: str
    udf1: str
    since: float
    status: int = REGISTERED
    action_code: int = -100
    description: str = ""
    confirmed: bool = False
    refunded_minor: int = 0

    @property
    def onward_url(self) -> str:
        """Where the payer's browser goes from the payment page."""
        url = self.return_url if self.status == PAID else self.fail_url
        return f"{url}{'&' if '?' in url else '?'}orderId={self.md_order}"


class Bank:
    """All orders, in memory. `acknowledge_once` makes a second confirmation answer without a state, as a bank may."""

    def __init__(
        self,
        *,
        auto_cancel_seconds: float = AUTO_CANCEL_SECONDS,
        acknowledge_once: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._auto_cancel_seconds = auto_cancel_seconds
        self._acknowledge_once = acknowledge_once
        self._clock = clock
        self._orders: dict[str, Order] = {}
        self._lock = threading.Lock()

    def register(self, form: Mapping[str, str]) -> Order:
        """A new order. Raises RefusedError as SATIM's `register.do` documents it."""
        number, amount, return_url = (_required(form, name) for name in ("orderNumber", "amount", "returnUrl"))
        if form.get("currency", "012") != "012":
            raise RefusedError(3, "Unknown currency: only 012 (DZD)")
        if not re.fullmatch(r"[0-9A-Za-z]{1,10}", number):
            raise RefusedError(5, "orderNumber must be 1 to 10 letters and digits")
        if not re.fullmatch(r"[0-9]{1,12}", amount) or int(amount) < MINIMUM_MINOR:
            raise RefusedError(5, f"amount must be an integer of centimes, {MINIMUM_MINOR} at least")
        extra = _json_params(form)
        order = Order(
            md_order=digest("order", number)[:20],
            order_number=number,
            amount_minor=int(amount),
            return_url=return_url,
            fail_url=form.get("failUrl") or return_url,
            udf1=str(extra["udf1"]),
            since=self._clock(),
        )
        with self._lock:
            if order.md_order in self._orders:
                raise RefusedError(1, "Order with this number is already processed")
            self._orders[order.md_order] = order
        return order

    def find(self, md_order: str) -> Order:
        """The order as it is now. Raises RefusedError for one that is not known."""
        with self._lock:
            order = self._orders.get(md_order)
            if order is None:
                raise RefusedError(6, "Unknown order id")
            if not order.confirmed and self._clock() - order.since > self._auto_cancel_seconds:
                if order.status == PAID:
                    self._move(order, REVERSED, order.action_code, "Annulée faute de confirmation")
                elif order.status == REGISTERED:
                    self._move(order, *ACTIONS["expire"])
            return order

    def acknowledge(self, md_order: str) -> Order:
        """Confirm the order, so that it is not cancelled."""
        order = self.find(md_order)
        if order.confirmed and self._acknowledge_once:
            raise RefusedError(2, "Order is already confirmed")
        order.confirmed = order.status == PAID
        return order

    def act(self, md_order: str, action: str) -> Order:
        """What the payer does on the payment page: one of `ACTIONS`; a paid order stays paid."""
        order = self.find(md_order)
        if order.status in (PAID, REFUNDED):
            raise RefusedError(7, "The order is paid already")
        with self._lock:
            self._move(order, *ACTIONS[action])
        return order

    def refund(self, md_order: str, amount: str) -> Order:
        """Give back a part or all, several times, never more than was paid."""
        order = self.find(md_order)
        if order.status not in (PAID, REFUNDED):
            raise RefusedError(7, "Only a paid order can be refunded")
        if not re.fullmatch(r"[0-9]{1,12}", amount) or int(amount) == 0:
            raise RefusedError(5, "amount must be an integer of centimes")
        with self._lock:
            if order.refunded_minor + int(amount) > order.amount_minor:
                raise RefusedError(7, "The sum of refunds is more than the deposit")
            order.refunded_minor += int(amount)
            order.status = REFUNDED
        return order

    def _move(self, order: Order, status: int, action_code: int, description: str) -> None:
        order.status, order.action_code, order.description = status, action_code, description
        order.since = self._clock()


def _required(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise RefusedError(4, f"{name} is empty")
    return value


def _json_params(form: Mapping[str, str]) -> dict[str, Any]:
    try:
        params = json.loads(form.get("jsonParams", ""))
    except ValueError:
        params = None
    if not isinstance(params, dict) or not params.get("force_terminal_id") or not params.get("udf1"):
        raise RefusedError(5, "jsonParams must be JSON with force_terminal_id and udf1")
    return params
