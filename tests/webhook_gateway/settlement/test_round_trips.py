"""A settlement asks PostgreSQL a few times only: a wallet stays locked for no longer than its last question."""

from collections.abc import Callable

import pytest
from sqlalchemy import event

from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.settlement.postgres import read_events
from services.webhook_gateway.settlement.settle import Understood
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from tests.webhook_gateway.settlement.harness import Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool


def questions(sql_school: SqlSchool, settle: Callable[[], list[SettlementResult | None]]) -> list[str]:
    """What went over the connection, one text a round trip, while events were settled; some were applied."""
    sql_school.read(0)  # the connection knows the statements from now on
    texts: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        texts.append(statement)

    event.listen(sql_school.engine, "before_cursor_execute", note)
    verdicts = settle()
    event.remove(sql_school.engine, "before_cursor_execute", note)
    assert EventState.APPLIED in {verdict.state for verdict in verdicts if verdict}
    return texts


@pytest.mark.parametrize("is_known", [False, True])
def test_a_payment_takes_three_round_trips_known_or_new(sql_school: SqlSchool, is_known: bool) -> None:
    harness = Harness(sql_school)
    user_id = sql_school.add_user()
    sql_school.add_subscription(user_id, 10)
    if is_known:
        harness.check_out(user_id, 1000, reference="R1")
    reported = harness.receive(stage=Stage.COMPLETED, amount_minor=1000, user_id=user_id)

    texts = questions(sql_school, lambda: [harness.settle(reported)])

    assert len(texts) == 3
    assert sql_school.balance(user_id) == 990
    # the wallet is locked by the last but one, and all that is written goes out with the commit
    assert "EXECUTE lock_wallets" in texts[-2]
    assert texts[-1].endswith("COMMIT")


def test_so_do_ten_events_of_several_payments_and_users(sql_school: SqlSchool) -> None:
    harness = Harness(sql_school)
    users = [sql_school.add_user() for _ in range(3)]
    for user_id in users:
        sql_school.add_subscription(user_id, 10)
    reported = [
        harness.receive(stage=Stage.COMPLETED, amount_minor=1000, user_id=users[number % 3], reference=f"R{number % 6}")
        for number in range(10)
    ]

    def settle_together() -> list[SettlementResult | None]:
        events = read_events(sql_school.engine, reported)
        understood = [Understood(one, harness.psp.written(one.body)) for one in events if one]
        return list(harness.settlement.book_all(understood))

    assert len(questions(sql_school, settle_together)) == 3
    assert [sql_school.balance(user_id) for user_id in users] == [1990, 1990, 1990]
