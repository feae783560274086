"""Connections to PostgreSQL."""

from sqlalchemy import Engine, create_engine

#: A server that does not answer within this is treated as away.
CONNECT_TIMEOUT_SECONDS = 3


def build_engine(
    database_url: str,
    *,
    pool_size: int = 5,
    application: str = "nouba",
    autocommit: bool = False,
    statement_timeout_ms: int = 0,
    connect_timeout_seconds: int = CONNECT_TIMEOUT_SECONDS,
    pool_timeout_seconds: float = 2,
) -> Engine:
    """An engine whose connections are checked by TCP, not by a query on every use.

    `pool_size` connections are kept, and never more opened: a caller beyond that waits up to `pool_timeout_seconds`.
    A statement that waits longer than `statement_timeout_ms` (for a lock, say) is given up; 0 waits for ever.
    With `autocommit` every statement is a transaction of its own, in one round trip.
    """
    return create_engine(
        _with_driver(database_url),
        pool_size=pool_size,
        max_overflow=0,
        # the parameters of a statement are what a stranger sent
        hide_parameters=True,
        pool_timeout=pool_timeout_seconds,
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
        connect_args={
            "connect_timeout": connect_timeout_seconds,
            "application_name": application,
            "options": f"-c statement_timeout={statement_timeout_ms}",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # an unplugged server must not hold a request for the kernel's fifteen minutes
            "tcp_user_timeout": 10_000,
        },
    )


def _with_driver(url: str) -> str:
    for scheme in ("postgres://", "postgresql://"):
        if url.startswith(scheme):
            return "postgresql+psycopg2://" + url.removeprefix(scheme)
    return url
