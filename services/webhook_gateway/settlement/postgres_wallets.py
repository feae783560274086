"""Finds wallets that could pay for a pending subscription."""

from sqlalchemy import Engine, exists, func, or_, select

from shared.schema.tables import subscriptions, users

#: A round checks again at once where it found so many.
AT_ONCE = 100


def users_covered(engine: Engine) -> list[int]:
    """Some of the users who have a waiting subscription that their wallet covers; below zero it covers nothing."""
    waits = exists().where(
        subscriptions.c.user_id == users.c.id,
        subscriptions.c.status == "pending_payment",
        subscriptions.c.amount_minor <= users.c.balance_minor,
        or_(subscriptions.c.ends_at.is_(None), subscriptions.c.ends_at > func.now()),
    )
    # one that cannot be paid for a fault of ours must not stand before the others for ever
    statement = select(users.c.id).where(users.c.balance_minor >= 0, waits).order_by(func.random()).limit(AT_ONCE)
    with engine.connect() as connection:
        return list(connection.scalars(statement))
