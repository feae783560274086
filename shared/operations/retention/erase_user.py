"""Erases one person's data: name, address, telephone, the bodies of webhooks about them, what they watched.

The books stay, under the user's number: payments, ledger and balance are what the law of accounting demands.
"""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, text, update

from shared.operations import audit_log
from shared.schema.tables import daily_states, teachers, users


class NoSuchUserError(Exception):
    """There is no user of that number."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What one erasure did; `bodies_left` belong to events that are not settled or decided yet."""

    user_id: int
    profile: bool
    bodies: int
    bodies_left: int
    #: On so many days it is erased which lessons the person watched.
    watched_days: int = 0

    @property
    def changed(self) -> bool:
        """Whether there was anything to erase."""
        return self.profile or self.bodies > 0 or self.watched_days > 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def erase_user(engine: Engine, user_id: int, *, who: str, why: str, dry_run: bool = False) -> Erasure:
    """Erase the person's data and write the act down, in one transaction. Erasing again changes nothing.

    Needs the rights of the tables' owner. Raises NoSuchUserError.
    """
    with engine.connect() as connection, connection.begin() as transaction:
        query = select(users.c.id).where(users.c.id == user_id).with_for_update()
        if connection.scalar(query) is None:
            raise NoSuchUserError(f"There is no user {user_id}.")
        profile = _erase_profile(connection, user_id)
        bodies = int(connection.scalar(text("SELECT erase_bodies_of_user(:user)"), {"user": user_id}) or 0)
        # who came on the last days is counted again from what is left
        connection.execute(delete(daily_states))
        watched = int(connection.scalar(text("SELECT forget_lessons_of_user(:user)"), {"user": user_id}) or 0)
        done = Erasure(user_id, profile, bodies, _bodies_left(connection, user_id), watched)
        if done.changed and not dry_run:
            found = {"profile": profile, "bodies": bodies, "watched_days": watched}
            audit_log.record(connection, who=who, what="user.erase", why=why, ids=[user_id], chosen_by=found)
        if dry_run:
            transaction.rollback()
    return done


def _erase_profile(connection: Connection, user_id: int) -> bool:
    column = users.c
    named = (column.name != "") | column.email.is_not(None) | column.phone.is_not(None)
    values = {"name": "", "email": None, "phone": None}
    person = connection.execute(update(users).where(column.id == user_id, named).values(values))
    taught = teachers.c.user_id == user_id
    teacher = connection.execute(update(teachers).where(taught, teachers.c.name != "").values(name=""))
    return person.rowcount + teacher.rowcount > 0


def _bodies_left(connection: Connection, user_id: int) -> int:
    query = text("SELECT count(*) FROM webhooks_of_user(:user)")
    return int(connection.scalar(query, {"user": user_id}) or 0)
