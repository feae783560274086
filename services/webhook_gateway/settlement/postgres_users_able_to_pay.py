"""Finds in PostgreSQL the users whose wallet balance covers a pending subscription; read only."""

import secrets

from sqlalchemy import Engine, func, or_, select, union_all

from shared.schema.tables import subscriptions, users

#: A round checks again at once where it found so many.
AT_ONCE = 100
#: Orders that nobody ever pays stay pending, so a round checks the newest, and at so many on each side of a user that
#: it chooses by chance. A payment itself pays for what its user has waiting, whatever is checked here.
NEWEST, STRETCH = 250, 500


def users_covered(engine: Engine) -> list[int]:
    """Some of the users who have a waiting subscription that their wallet covers; below zero it covers nothing."""
    column = subscriptions.c
    keys = (column.user_id, column.created_at, column.id)
    pending = select(*column["user_id", "amount_minor", "ends_at"]).where(column.status == "pending_payment")
    with engine.connect() as connection:
        middle = secrets.randbelow((connection.scalar(select(func.max(users.c.id))) or 0) + 1)
        parts = (
            pending.order_by(column.id.desc()).limit(NEWEST),
            pending.where(column.user_id >= middle).order_by(*keys).limit(STRETCH),
            pending.where(column.user_id < middle).order_by(*(key.desc() for key in keys)).limit(STRETCH),
        )
        waiting = union_all(*(select(part.subquery()) for part in parts)).subquery()
        # one subquery each: joined, the planner may read all users for a few
        balance = select(users.c.balance_minor).where(users.c.id == waiting.c.user_id).scalar_subquery()
        covered = (
            select(waiting.c.user_id)
            .distinct()
            .where(or_(waiting.c.ends_at.is_(None), waiting.c.ends_at > func.now()))
            .where(balance >= func.greatest(waiting.c.amount_minor, 0))
            .subquery()
        )
        # one that cannot be paid for a fault of ours must not stand before the others for ever
        return list(connection.scalars(select(covered.c.user_id).order_by(func.random()).limit(AT_ONCE)))
