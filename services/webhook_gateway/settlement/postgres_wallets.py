"""Finds wallets that could pay for a pending subscription."""

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from shared.schema.tables import subscriptions, users

#: A round looks again at once where it found so many.
AT_ONCE = 100


def users_covered(engine: Engine) -> list[int]:
    """Some of the users whose oldest waiting subscription their wallet covers; below zero it covers nothing."""
    oldest = (
        select(*subscriptions.c["user_id", "amount_minor"])
        .where(subscriptions.c.status == "pending_payment")
        .order_by(*subscriptions.c["user_id", "created_at", "id"])
        .ext(distinct_on(subscriptions.c.user_id))
        .subquery()
    )
    statement = (
        select(users.c.id)
        .join(oldest, oldest.c.user_id == users.c.id)
        .where(users.c.balance_minor >= oldest.c.amount_minor)
        # one that cannot be paid for a fault of ours must not stand before the others for ever
        .order_by(func.random())
        .limit(AT_ONCE)
    )
    with engine.connect() as connection:
        return list(connection.scalars(statement))
