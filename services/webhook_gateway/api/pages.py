"""Pages of a list, by keyset: a cursor is the last id of the page before, so rows that come meanwhile move nothing."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

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
