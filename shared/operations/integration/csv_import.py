"""Imports users and orders from CSV files, all rows or none.

A user that exists is changed in the columns that the file has; an order that exists is left as it is. So a file can be
imported again.
"""

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TextIO

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from sqlalchemy import Connection, Engine, TextClause, text

#: Faults of a file that are shown at once.
MAX_FAULTS: Final = 20
_BIGINT: Final = 2**63 - 1


class ImportFaultError(Exception):
    """The file is not of the documented form; the message has a line for each fault."""


class UserRow(BaseModel):
    """A line of users.csv."""

    model_config = ConfigDict(extra="forbid")
    id: int = Field(ge=1, le=_BIGINT)
    name: str = ""
    email: str | None = None
    phone: str | None = None
    role: str = "student"
    year_of_study: str | None = None
    # PostgreSQL's own form has an offset without minutes, which pydantic refuses
    created_at: Annotated[AwareDatetime | None, BeforeValidator(datetime.fromisoformat)] = None


class OrderRow(BaseModel):
    """A line of orders.csv: a payment that a payer was sent to a provider for."""

    model_config = ConfigDict(extra="forbid")
    provider: str = Field(pattern=r"^[a-z_]{1,40}$")
    provider_reference: str = Field(pattern=r"^[\x21-\x7e]{1,200}$")
    order_number: str | None = Field(None, pattern=r"^[\x21-\x7e]{1,200}$")
    user_id: int = Field(ge=1, le=_BIGINT)
    amount_minor: int = Field(ge=0, le=_BIGINT)
    currency: str = Field("DZD", pattern=r"^[A-Z]{3}$")
    subscription_id: int | None = Field(None, ge=1, le=_BIGINT)


#: What an import changes of a user that exists.
_CHANGED: Final = ("name", "email", "phone", "role", "year_of_study")
_ORDER: Final = text("""
INSERT INTO payments (provider, provider_reference, order_number, user_id, amount_minor, currency, subscription_id,
    registered_subscription_id)
VALUES (:provider, :provider_reference, :order_number, :user_id, :amount_minor, :currency, :subscription_id,
    :subscription_id)
ON CONFLICT (provider, provider_reference) DO NOTHING RETURNING true AS is_new
""")
_UNKNOWN_USERS: Final = text(
    "SELECT id FROM unnest(CAST(:ids AS bigint[])) AS id WHERE NOT EXISTS (SELECT FROM users WHERE users.id = id.id)"
)


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows were new, changed, and as they were."""

    new: int
    changed: int
    unchanged: int


def import_users(engine: Engine, file: TextIO, *, is_dry_run: bool) -> Imported:
    """Raises ImportFaultError, and writes nothing then."""
    rows, columns = _read(file, UserRow)
    return _write(engine, user_statement(columns), rows, is_dry_run=is_dry_run)


def import_orders(engine: Engine, file: TextIO, *, is_dry_run: bool) -> Imported:
    """Raises ImportFaultError, and writes nothing then."""
    rows, _ = _read(file, OrderRow)
    with engine.connect() as connection:
        ids = sorted({row["user_id"] for row in rows})
        unknown = list(connection.scalars(_UNKNOWN_USERS, {"ids": ids}))
    if unknown:
        shown = ", ".join(map(str, unknown[:MAX_FAULTS]))
        raise ImportFaultError(f"There is no user {shown}: import the users first.")
    return _write(engine, _ORDER, rows, is_dry_run=is_dry_run)


def user_statement(columns: Collection[str]) -> TextClause:
    """Inserts a user, or changes the `columns` of one that exists."""
    changed = [name for name in _CHANGED if name in columns]
    act = "NOTHING"
    if changed:
        old, new = (", ".join(f"{table}.{name}" for name in changed) for table in ("users", "EXCLUDED"))
        values = ", ".join(f"{name} = EXCLUDED.{name}" for name in changed)
        act = f"UPDATE SET {values} WHERE ROW({old}) IS DISTINCT FROM ROW({new})"
    return text(f"""
INSERT INTO users (id, name, email, phone, role, year_of_study, created_at)
VALUES (:id, :name, :email, :phone, :role, :year_of_study, coalesce(:created_at, now()))
ON CONFLICT (id) DO {act} RETURNING xmax = 0 AS is_new
""")  # noqa: S608


def _read(file: TextIO, kind: type[BaseModel]) -> tuple[list[dict[str, Any]], Sequence[str]]:
    """The rows and the columns of the file."""
    reader = csv.DictReader(file)
    unknown = sorted(set(reader.fieldnames or ()) - set(kind.model_fields))
    if unknown or not reader.fieldnames:
        raise ImportFaultError(
            f"line 1: name the columns, of {', '.join(kind.model_fields)}; not {', '.join(unknown)}."
        )
    rows: list[dict[str, Any]] = []
    faults: list[str] = []
    for line in reader:
        if None in line or any("\0" in (value or "") for value in line.values()):
            faults.append(f"line {reader.line_num}: has more fields than columns, or a null character")
            continue
        try:
            # an empty field is none
            rows.append(kind.model_validate({name: value for name, value in line.items() if value != ""}).model_dump())
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False, include_context=False)
            faults += [f"line {reader.line_num}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in details]
    if faults:
        more = f"\n... and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise ImportFaultError("\n".join(faults[:MAX_FAULTS]) + more)
    return rows, reader.fieldnames


def _write(engine: Engine, statement: Any, rows: Sequence[Mapping[str, Any]], *, is_dry_run: bool) -> Imported:
    with engine.connect() as connection, connection.begin() as transaction:
        found = [_is_new(connection, statement, row) for row in rows]
        if is_dry_run:
            transaction.rollback()
    return Imported(found.count(True), found.count(False), found.count(None))


def _is_new(connection: Connection, statement: Any, row: Mapping[str, Any]) -> bool | None:
    is_new: bool | None = connection.scalar(statement, row)
    return is_new
