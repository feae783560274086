"""The worked examples of docs/money.md are what the ledger books."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from services.webhook_gateway.payments.ledger import AccountKind
from services.webhook_gateway.payments.objects import Dispute, DisputeState, Fee, FeeKind, Refund, RefundState
from services.webhook_gateway.payments.payment_state import Stage
from tests.webhook_gateway.fakes import FakeSchool
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Harness

PAGE: Final = Path(__file__).parents[3] / "docs" / "money.md"
_PAID: Final = {"stage": Stage.COMPLETED, "amount_minor": 10000}
_DISPUTE_FEE: Final = (Fee("txn_1", 150, FeeKind.DISPUTE),)


def _refund(state: RefundState) -> dict[str, Any]:
    return {"refunds": (Refund("re_1", 4000, state),)}


def _dispute(state: DisputeState, name: str = "dp_1", amount_minor: int = 2000) -> dict[str, Any]:
    return {"disputes": (Dispute(name, amount_minor, state),), "fees": _DISPUTE_FEE if name == "dp_1" else ()}


#: The examples: what happens, in the page's words, and what the provider's event reports.
EXAMPLES: Final[dict[str, list[tuple[str, dict[str, Any]]]]] = {
    "a payment with a fee": [("100.00 is collected, the fee is 2.50", {**_PAID, "fee_minor": 250})],
    "a capture of less than was held": [
        ("90.00 is held", {"stage": Stage.AUTHORIZED, "amount_minor": 9000}),
        (
            "40.00 of it is captured; the other 50.00 is no refund",
            {"stage": Stage.COMPLETED, "amount_minor": 4000, "authorized_minor": 9000, "refunded_minor": 0},
        ),
    ],
    "a refund that fails": [
        ("100.00 is collected", _PAID),
        ("a refund of 40.00 begins", _refund(RefundState.PENDING)),
        ("the refund fails", _refund(RefundState.FAILED)),
    ],
    "a dispute of a part that is won": [
        ("100.00 is collected", _PAID),
        ("20.00 is disputed, the dispute costs 1.50", _dispute(DisputeState.OPEN)),
        ("the dispute is won", _dispute(DisputeState.WON)),
    ],
    "a dispute of a part that is lost": [
        ("100.00 is collected", _PAID),
        ("20.00 is disputed, the dispute costs 1.50", _dispute(DisputeState.OPEN)),
        ("the dispute is lost", _dispute(DisputeState.LOST)),
    ],
    "two disputes of one payment": [
        ("100.00 is collected", _PAID),
        ("20.00 is disputed, the dispute costs 1.50", _dispute(DisputeState.OPEN)),
        ("the dispute is won", _dispute(DisputeState.WON)),
        ("another dispute takes 30.00", _dispute(DisputeState.OPEN, "dp_2", 3000)),
    ],
    "a dispute of what was refunded": [
        ("100.00 is collected", _PAID),
        ("all of it is refunded", {"refunded_minor": 10000, "occurred_at": OPENED_AT - timedelta(minutes=1)}),
        ("100.00 is disputed and lost", _dispute(DisputeState.LOST, "dp_2", 10000)),
    ],
}


def rows(name: str) -> list[str]:
    """The lines of the page's table for one example, one for each ledger transaction."""
    harness = Harness(FakeSchool())
    user_id = harness.school.add_user()
    written: list[str] = []
    for number, (words, reported) in enumerate(EXAMPLES[name]):
        before = len(harness.school.lines())
        harness.book(user_id=user_id if number == 0 else None, **reported)
        transactions: dict[str, dict[AccountKind, int]] = {}
        for line in harness.school.lines()[before:]:
            transactions.setdefault(line.kind, {})[line.account.kind] = line.amount_minor
        for kind, entries in transactions.items() or [("", dict[AccountKind, int]())]:
            shown = [_amount(entries.pop(account, 0)) for account in (AccountKind.WALLET, AccountKind.CLEARING)]
            others = ", ".join(f"`{account}` {_amount(amount)}" for account, amount in entries.items())
            cells = [words, f"`{kind}`" if kind else "nothing", *shown, others]
            written.append("| " + " | ".join(cells).rstrip() + " |")
            words = ""
    return written


def _amount(amount_minor: int) -> str:
    return f"{'+' if amount_minor > 0 else '−'}{abs(amount_minor) / 100:,.2f}" if amount_minor else ""


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_page_are_what_is_booked(name: str) -> None:
    page = "\n".join(" ".join(line.split()) for line in PAGE.read_text().splitlines())
    expected = "\n".join(" ".join(row.split()) for row in rows(name))
    assert expected in page, "\n".join(rows(name))
