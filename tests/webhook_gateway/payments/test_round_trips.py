"""A settlement asks PostgreSQL a few times only: a wallet stays locked for no longer than its last question."""

from sqlalchemy import event

from services.webhook_gateway.payments.books import State
from services.webhook_gateway.payments.states import Stage
from tests.webhook_gateway.payments.desk import Desk
from tests.webhook_gateway.payments.sql_school import SqlSchool


def questions(sql_school: SqlSchool, desk: Desk, event_id: int) -> list[str]:
    """What went over the connection, one text a round trip, while the event was settled and applied."""
    sql_school.read(event_id)  # the connection knows the statements from now on
    texts: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        texts.append(statement)

    event.listen(sql_school.engine, "before_cursor_execute", note)
    verdict = desk.settle(event_id)
    event.remove(sql_school.engine, "before_cursor_execute", note)
    assert verdict is not None
    assert verdict.state is State.APPLIED
    return texts


def test_a_new_payment_takes_four_round_trips(sql_school: SqlSchool) -> None:
    desk = Desk(sql_school)
    user_id = sql_school.add_user()
    sql_school.add_subscription(user_id, 10)
    told = desk.tell(stage=Stage.COMPLETED, amount_minor=1000, user_id=user_id)

    texts = questions(sql_school, desk, told)

    assert len(texts) == 4
    assert sql_school.balance(user_id) == 990
    # the wallet is locked by the last but one, and all that is written goes out with the commit
    assert "EXECUTE lock_opened" in texts[-2]
    assert texts[-1].endswith("COMMIT")


def test_news_of_a_known_payment_take_three(sql_school: SqlSchool) -> None:
    desk = Desk(sql_school)
    user_id = sql_school.add_user()
    desk.check_out(user_id, 1000, reference="R1")

    assert len(questions(sql_school, desk, desk.tell(stage=Stage.COMPLETED, amount_minor=1000))) == 3
    assert sql_school.balance(user_id) == 1000
