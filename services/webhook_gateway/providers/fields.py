"""Reads what a signed body says, field by field, into values that the database can hold.

A signature proves the sender, not the sender's care: every surprise in the body is Unreadable, never another error.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from services.webhook_gateway.errors import UnreadableEventError

#: The longest identifier kept; no provider's comes near it.
IDENTIFIER_LIMIT_CHARACTERS: Final = 200
MAX_URL_CHARACTERS: Final = 4000
#: PostgreSQL's bigint.
BIGINT_MAX: Final = 2**63 - 1
#: No school is paid ten trillion dinars; sums of what is below it fit into a bigint.
LARGEST_AMOUNT_MINOR: Final = 10**15

_USER_ID = re.compile(r"[0-9]{1,19}")
_WORD = re.compile(r"[A-Za-z_]{1,40}")
_CURRENCY = re.compile(r"[A-Za-z]{3}")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` is.

    Raises UnreadableEventError for anything else (other bytes, NaN, endless nesting), and where a field has two
    values: which of
    them another reader takes is not defined.
    """
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant, object_pairs_hook=one_value_each)
    except (ValueError, RecursionError) as error:
        raise UnreadableEventError(f"The body must be a JSON object in UTF-8 ({type(error).__name__}).") from None
    if not isinstance(value, dict):
        raise UnreadableEventError("The body must be a JSON object.")
    return value


def section(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object within the object. Raises UnreadableEventError where there is none."""
    value = fields.get(name)
    if not isinstance(value, dict):
        raise UnreadableEventError(f"{name} must be an object.")
    return value


def identifier(value: Any, name: str) -> str:
    """A name that somebody else gave: text of 1 to 200 characters, or an integer.

    Raises UnreadableEventError for others.
    """
    text = loose_identifier(value)
    if text is None:
        raise UnreadableEventError(f"{name} must be text of 1 to {IDENTIFIER_LIMIT_CHARACTERS} plain characters.")
    return text


def optional_identifier(value: Any, name: str) -> str | None:
    """The same where it may be absent, null or empty."""
    return None if value is None or value == "" else identifier(value, name)


def loose_identifier(value: Any) -> str | None:
    """The same from a field that the sender fills as it likes: None for anything that cannot be an identifier."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= BIGINT_MAX:
        return str(value)
    if not isinstance(value, str) or not 0 < len(value) <= IDENTIFIER_LIMIT_CHARACTERS:
        return None
    # PostgreSQL holds no NUL and no half of a surrogate pair; nobody's identifier holds control characters
    return value if value.isprintable() else None


def description(value: Any) -> str | None:
    """Words for people, shortened and without what a database or a terminal cannot show; None where there are none."""
    if not isinstance(value, str):
        return None
    shown = "".join(character if character.isprintable() else " " for character in value)
    return shown.strip()[:IDENTIFIER_LIMIT_CHARACTERS] or None


def amount_minor(value: Any, name: str, minor_units: int = 1) -> int:
    """An amount reported in units of `minor_units` minor units.

    Raises UnreadableEventError for a bool, float, text or overflow.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnreadableEventError(f"{name} must be an integer, without quotes or a decimal point.")
    if not 0 <= value * minor_units <= LARGEST_AMOUNT_MINOR:
        raise UnreadableEventError(f"{name} must be between 0 and {LARGEST_AMOUNT_MINOR // minor_units}.")
    return value * minor_units


def user_id(value: Any) -> int | None:
    """The id of a user or a subscription, reported as an integer or as decimal text.

    None for anything else, also for a number that none of them can have: such a payment waits for its payer to be found
    by reference or order number.
    """
    if isinstance(value, str) and _USER_ID.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 1 <= value <= BIGINT_MAX else None


def currency(value: Any) -> str:
    """The ISO 4217 code in capitals. Raises UnreadableEventError for anything but three letters."""
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise UnreadableEventError("currency must be an ISO 4217 code of three letters, such as DZD.")
    return value.upper()


def instant(value: Any) -> datetime | None:
    """When something happened, reported in Unix seconds or in ISO 8601 with an offset; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int):
            return datetime.fromtimestamp(value, UTC)
        instant_read = datetime.fromisoformat(value) if isinstance(value, str) else None
        # the shift to UTC can leave the calendar at either end
        return instant_read.astimezone(UTC) if instant_read is not None and instant_read.tzinfo is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def checkout_url(value: Any) -> str:
    """Where a payer is sent. Raises UnreadableEventError for what is no address of the web."""
    is_address = isinstance(value, str) and value.startswith(("https://", "http://")) and value.isprintable()
    if not is_address or len(value) > MAX_URL_CHARACTERS:
        raise UnreadableEventError("the checkout's address is none of the web.")
    return str(value)


def one_value_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of `pairs`, for `json.loads`.

    Raises UnreadableEventError, with both values, for a name with two of them.
    """
    fields: dict[str, Any] = {}
    for name, value in pairs:
        # True equals 1
        if name in fields and (type(fields[name]), fields[name]) != (type(value), value):
            raise UnreadableEventError(f"{_shown(name)} is given twice: {_shown(fields[name])} and {_shown(value)}")
        fields[name] = value
    return fields


def _shown(value: Any) -> str:
    """A number, a flag or a word as it is; text that may be about a person is not shown."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else "(text)"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
