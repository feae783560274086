"""The metadata of all tables, and the names of their constraints."""

from typing import Any

from sqlalchemy import TIMESTAMP, BigInteger, Column, Identity, MetaData, func

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: An instant with its zone; nothing in the school is kept in local time.
INSTANT = TIMESTAMP(timezone=True)


def id_column() -> Column[Any]:
    """A 64-bit key that the database counts, and that an importer may also bring."""
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


def created_at_column() -> Column[Any]:
    return Column("created_at", INSTANT, nullable=False, server_default=func.now())
