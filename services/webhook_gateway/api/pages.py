"""Pages of a list, by keyset: a cursor is the last id of the page before, so rows that come meanwhile move nothing."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, WithJsonSchema

T = TypeVar("T")

LARGEST_ID = 2**63 - 1
LARGEST_PAGE = 100
DEFAULT_PAGE = 50


def _decimal(value: Any) -> Any:
    # a parameter is text: neither "1.0" nor " 1" is a number of ours
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{1,19}", value):
        raise ValueError("give an integer in decimal digits")
    return value


#: Of a number in a query; stands after its limits.
DECIMAL = BeforeValidator(_decimal)
Id = Annotated[int, Field(ge=1, le=LARGEST_ID), DECIMAL]
Cursor = Annotated[
    Id,
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,17}$", "description": "`next_cursor` of an answer."}),
]


def _utc(value: Any) -> Any:
    # neither Unix seconds nor a local time, and in a zone that PostgreSQL knows
    if not isinstance(value, str) or not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", value):
        raise ValueError("give an instant as RFC 3339 has it, such as 2026-11-29T08:00:00Z")
    try:
        return TypeAdapter(AwareDatetime).validate_python(value).astimezone(UTC)
    except OverflowError:
        raise ValueError("the instant is out of range") from None


#: An instant in a query, in UTC.
Instant = Annotated[AwareDatetime, BeforeValidator(_utc)]


class PageQuery(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(frozen=True)
    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), DECIMAL] = DEFAULT_PAGE


def read_page(
    query: PageQuery, read: Callable[[int, int | None], Sequence[T]], id_of: Callable[[T], int]
) -> tuple[Sequence[T], str | None]:
    """The page, and the cursor of the next one; `read` gets a limit and the id before which the page begins."""
    found = read(query.limit + 1, query.cursor)
    page = found[: query.limit]
    return page, str(id_of(page[-1])) if len(found) > query.limit else None
