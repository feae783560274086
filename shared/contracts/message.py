"""The base of every contract: a frozen value with name and version, read tolerantly and written exactly.

A newer sender may add fields (they are ignored), an older one may lack fields that have a default.
Renaming, removing or retyping a field is a new version: both are handled until no old message is left.
"""

import dataclasses
import datetime
import functools
import types
import typing
from typing import Any, ClassVar, Self


class ContractError(Exception):
    """The payload does not satisfy its contract; trying again cannot help, so the message is dead."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A value that a service sends to another; its fields are int, str, bool, date, aware datetime, tuples of one of
    these, or such or None."""

    #: The stable name on the wire, and its version.
    name: ClassVar[str]
    version: ClassVar[int] = 1

    @classmethod
    def wire_name(cls) -> str:
        """The actor that handles this message, for example `webhooks.received.v1`."""
        return f"{cls.name}.v{cls.version}"

    def dump(self) -> dict[str, Any]:
        """The fields as JSON can carry them: dates and instants in ISO 8601."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def load(cls, payload: dict[str, Any]) -> Self:
        """The value that `payload` describes. Raises ContractError where a field is missing or of another type."""
        hints = _hints(cls)  # type: ignore[arg-type]  # mypy: a class is hashable, whatever its instances are
        values = {}
        for field in dataclasses.fields(cls):
            if field.name in payload:
                values[field.name] = _typed(hints[field.name], payload[field.name], f"{cls.wire_name()}.{field.name}")
            elif field.default is dataclasses.MISSING:
                raise ContractError(f"{cls.wire_name()}.{field.name} is missing")
        return cls(**values)


# Reading them takes longer than all the rest of a message's way through a worker.
@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def _typed(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (option for option in typing.get_args(hint) if option is not types.NoneType)
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        one, _ = typing.get_args(hint)
        return tuple(_typed(one, member, f"{where}[{place}]") for place, member in enumerate(value))
    if hint in (datetime.date, datetime.datetime) and isinstance(value, str):
        try:
            return hint.fromisoformat(value)
        except ValueError:
            raise ContractError(f"{where}: {value!r} is not a {hint.__name__}") from None
    # bool is an int to Python, and never one to us; a str must not be taken for a date
    if type(value) is not hint:
        raise ContractError(f"{where}: {value!r} is not of type {getattr(hint, '__name__', hint)}")
    return value
