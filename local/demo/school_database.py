"""The demonstration's school in the database: adds students, payments and courses, and reads their outcome."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, insert, select, text

from shared.schema.tables import chapters, courses, payments, subscriptions, users, webhook_events


@dataclass(frozen=True, slots=True)
class Student:
    """A row of `users`."""

    id: int
    label: str


class School:
    """The school's own application, as far as the demonstration needs it."""

    def __init__(self, database_url: str) -> None:
        self._engine: Engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://", 1))
        #: Makes the references of one run its own, so that the demonstration can be repeated.
        self.run = uuid.uuid4().hex[:8]

    def enrol(self, label: str, *prices_minor: int) -> Student:
        """A student with one subscription for each price, all waiting for payment."""
        with self._engine.begin() as connection:
            user_id = _new(connection, users, name=label)
            for number, price_minor in enumerate(prices_minor, 1):
                chapter_id = _new(connection, chapters, title=f"Chapter {number}", price_minor=price_minor)
                _new(connection, subscriptions, user_id=user_id, chapter_id=chapter_id, amount_minor=price_minor)
        return Student(user_id, label)

    def check_out(
        self, student: Student, provider: str, reference: str, order_number: str | None, amount_minor: int
    ) -> None:
        """The pending payment that a school's checkout writes before it sends the student to the provider."""
        with self._engine.begin() as connection:
            _new(
                connection,
                payments,
                provider=provider,
                provider_reference=reference,
                order_number=order_number,
                user_id=student.id,
                amount_minor=amount_minor,
            )

    def open_course(self, title: str) -> int:
        """A course without a video."""
        with self._engine.begin() as connection:
            return _new(connection, courses, title=title)

    def course(self, course_id: int) -> tuple[str | None, str | None]:
        """How far a course's video is, and the key of its master playlist."""
        query = select(courses.c.transcoding_status, courses.c.video_ref).where(courses.c.id == course_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one()
        return row.transcoding_status, row.video_ref

    def balance_minor(self, student: Student) -> int:
        with self._engine.connect() as connection:
            return int(connection.scalar(select(users.c.balance_minor).where(users.c.id == student.id)) or 0)

    def subscriptions(self, student: Student) -> list[str]:
        """The state of each of the student's subscriptions, oldest first."""
        query = select(subscriptions.c.status).where(subscriptions.c.user_id == student.id).order_by(subscriptions.c.id)
        with self._engine.connect() as connection:
            return list(connection.scalars(query))

    def event(self, event_id: int) -> tuple[str, str]:
        """An event's state, and the reason of it."""
        query = select(webhook_events.c.state, webhook_events.c.reason).where(webhook_events.c.id == event_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one()
        return row.state, row.reason or ""

    def drift(self) -> dict[str, int]:
        """What must be 0: transactions that do not balance, and users whose balance is not the sum of their entries."""
        with self._engine.connect() as connection:
            return dict(connection.execute(text(_DRIFT)).one()._mapping)


def _new(connection: Connection, table: Any, **values: Any) -> int:
    return int(connection.scalar(insert(table).values(**values).returning(table.c.id)))


_DRIFT = """
SELECT
    (SELECT count(*) FROM (
        SELECT FROM ledger_entries GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0) AS unbalanced
    ) AS unbalanced_transactions,
    (SELECT count(*) FROM users WHERE balance_minor <> (
        SELECT coalesce(sum(amount_minor), 0)
        FROM ledger_entries JOIN ledger_accounts ON account_id = ledger_accounts.id WHERE user_id = users.id)
    ) AS wrong_balances
"""
