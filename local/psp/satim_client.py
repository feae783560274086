"""Client of the SATIM simulator: registers an order, and steers how the simulated payer ends it."""

import json
from typing import Final
from urllib.parse import urlsplit

import httpx

#: What the payer does for an event of that word.
_ACTIONS: Final = {"paid": "pay", "failed": "decline", "expired": "expire"}


class SatimClient:
    """A client of the simulator whose SATIM calls live at `base_url`."""

    def __init__(self, base_url: str, *, username: str, password: str, terminal: str = "E010101010") -> None:
        self._client = httpx.Client(timeout=10)
        self._base_url = base_url.rstrip("/")
        self._credentials = {"userName": username, "password": password}
        self._terminal = terminal

    def open(self, order_number: str, amount_minor: int, return_url: str = "https://school.example/paid") -> str:
        """Register an order of 1 to 10 letters and digits; the bank's id of it (mdOrder)."""
        form = {
            **self._credentials,
            "orderNumber": order_number,
            "amount": str(amount_minor),
            "currency": "012",
            "returnUrl": return_url,
            "language": "FR",
            "jsonParams": json.dumps({"force_terminal_id": self._terminal, "udf1": order_number}),
        }
        answer = self._client.post(f"{self._base_url}/register.do", data=form).raise_for_status().json()
        if str(answer.get("errorCode")) != "0":
            raise RuntimeError(f"register.do refused order {order_number}: {answer.get('errorMessage')}")
        return str(answer["orderId"])

    def end(self, md_order: str, what: str = "paid") -> None:
        """Let the payer do what leads to `what`: paid, failed or expired."""
        root = "{0.scheme}://{0.netloc}".format(urlsplit(self._base_url))
        self._client.post(f"{root}/simulator/orders/{md_order}/{_ACTIONS[what]}").raise_for_status()
