"""Index changes that do not lock the table: readers and writers go on while the index is built.

It waits for transactions that are older, a backup say, and holds up nobody meanwhile; so it has no lock timeout. A
build that was interrupted leaves an invalid index behind, which the next attempt drops.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op


def create_index(name: str, definition: str, *, unique: bool = False) -> None:
    """CREATE INDEX CONCURRENTLY `name` ON `definition`, for example `outbox (service, id) WHERE ...`."""
    with _without_lock_timeout():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE {'UNIQUE ' if unique else ''}INDEX CONCURRENTLY {name} ON {definition}")


def drop_index(name: str) -> None:
    """DROP INDEX CONCURRENTLY `name`."""
    with _without_lock_timeout():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


@contextmanager
def _without_lock_timeout() -> Iterator[None]:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        yield
        op.execute("SET lock_timeout = 1000")
