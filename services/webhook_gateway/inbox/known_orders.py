"""Whether a payment is registered: the school's back end, or a signed event, named its order before."""

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway.errors import StorageUnavailableError
from shared.runtime.database import connect_within

#: A hint is not worth a longer wait: it is counted as one about an unknown order then.
MAX_SECONDS = 1.0

_FIND = "SELECT EXISTS (SELECT FROM payments WHERE provider = %(provider)s AND provider_reference = %(reference)s)"


def is_registered(engine: Engine, provider: str, reference: str) -> bool:
    """Whether `payments` has the order. False while the database is away."""
    try:
        with connect_within(engine, MAX_SECONDS) as connection:
            found = connection.exec_driver_sql(_FIND, {"provider": provider, "reference": reference}).scalar()
    except (SQLAlchemyError, StorageUnavailableError):
        return False
    return bool(found)
