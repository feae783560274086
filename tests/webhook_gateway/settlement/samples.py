"""A payment and an event to put into a school."""

from services.webhook_gateway.payments.model import Payment
from services.webhook_gateway.payments.objects import Dispute, DisputeState
from services.webhook_gateway.payments.payment_state import PaymentState
from tests.webhook_gateway.settlement.factories import OPENED_AT, School


def a_payment(user_id: int, amount_minor: int = 1000, **known: object) -> Payment:
    row = {"reference": "R1", "order_number": None, "currency": "DZD", "state": PaymentState(), **known}
    return Payment(id=0, provider="psp", user_id=user_id, amount_minor=amount_minor, **row)  # type: ignore[arg-type]


def an_event(school: School, name: str = "e1", reference: str = "R1") -> int:
    return school.add_event("psp", reference, name.encode(), OPENED_AT)


def disputed(state: DisputeState, amount_minor: int = 2500, name: str = "dp_1") -> dict[str, tuple[Dispute, ...]]:
    """What a notice reports of one dispute."""
    return {"disputes": (Dispute(name, amount_minor, state),)}
