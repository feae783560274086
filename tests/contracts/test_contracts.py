"""A message that was ever sent is understood for ever, and a broken one is found out at once."""

import dataclasses
import json
import types
import typing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.message import ContractError, Message
from shared.contracts.routes import ROUTES
from tests.contracts.lock import PATH, breaks, locked, shapes

MESSAGES = {route.message.wire_name(): route.message for route in ROUTES}
GOLDEN = sorted(Path(__file__).parent.joinpath("golden").rglob("*.json"))

_VALUES: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**63 - 1),
    str: st.text(),
    bool: st.booleans(),
    date: st.dates(),
    datetime: st.datetimes(timezones=st.just(UTC)),
}
#: What each type is not; a value that only resembles it is the dangerous kind.
_WRONG: dict[object, list[Any]] = {
    int: ["7", 7.0, True, None, [], {}],
    str: [7, True, None, [], {}, b"7"],
    bool: [1, 0, "true", None],
    date: ["yesterday", "2026-02-30", "", 20260301, None, True, ["2026-03-01"]],
    datetime: ["yesterday", "2026-02-30T00:00:00+00:00", 1772323200, None],
    tuple[int, ...]: [7, "7", None, {}, {"0": 7}, ["7"], [7, None], [[7]]],
    tuple[date, ...]: ["2026-03-01", None, {}, [20260301], ["2026-02-30"]],
}

every_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


def values(message: type[Message]) -> dict[str, st.SearchStrategy[Any]]:
    """Any value of each field."""
    hints = typing.get_type_hints(message)
    return {field.name: _any_of(hints[field.name]) for field in dataclasses.fields(message)}


def _any_of(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, types.UnionType):
        return st.one_of(*(_any_of(option) for option in typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return st.lists(_any_of(typing.get_args(hint)[0]), max_size=5).map(tuple)
    return st.none() if hint is types.NoneType else _VALUES[hint]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_was_ever_sent_is_still_read(path: Path) -> None:
    payload = json.loads(path.read_text())
    reported = MESSAGES[path.parent.name].load(payload).dump()
    known = payload.keys() & reported.keys()
    assert {name: reported[name] for name in known} == {name: payload[name] for name in known}


@every_message
def test_every_contract_keeps_an_example(message: type[Message]) -> None:
    assert any(path.parent.name == message.wire_name() for path in GOLDEN), (
        f"put a payload of {message.wire_name()} into tests/contracts/golden/{message.wire_name()}/shipped.json"
    )


def test_contracts_only_ever_gain_optional_fields() -> None:
    assert breaks(locked(), shapes()) == []


def test_what_was_added_is_written_down() -> None:
    assert locked() == shapes(), f"run `python -m tests.contracts.lock`, which writes {PATH.name}"


@every_message
@given(data=st.data())
def test_a_message_comes_back_from_json_as_it_was(message: type[Message], data: st.DataObject) -> None:
    reported = message(**{name: data.draw(strategy, label=name) for name, strategy in values(message).items()})
    assert message.load(json.loads(json.dumps(reported.dump()))) == reported


@every_message
@given(data=st.data())
def test_fields_of_a_newer_sender_are_ignored(message: type[Message], data: st.DataObject) -> None:
    reported = message(**{name: data.draw(strategy, label=name) for name, strategy in values(message).items()})
    more = data.draw(st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=3))
    assert message.load({**more, **reported.dump()}) == reported


@every_message
def test_a_missing_field_or_one_of_another_type_is_a_broken_contract(message: type[Message]) -> None:
    payload = json.loads(next(path for path in GOLDEN if path.parent.name == message.wire_name()).read_text())
    hints = typing.get_type_hints(message)
    for field in dataclasses.fields(message):
        without = {name: value for name, value in payload.items() if name != field.name}
        if field.default is dataclasses.MISSING:
            with pytest.raises(ContractError, match=rf"{message.wire_name()}\.{field.name} is missing"):
                message.load(without)
        for wrong in _WRONG.get(hints[field.name], []):
            with pytest.raises(ContractError, match=rf"{message.wire_name()}\.{field.name}"):
                message.load({**without, field.name: wrong})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Message):
    """As rich as a contract may be."""

    name: ClassVar[str] = "tests.sample"
    version: ClassVar[int] = 2
    number: int
    text: str
    at: datetime
    day: date
    several: tuple[int, ...]
    flag: bool = False
    remark: str | None = None


@given(st.builds(Sample, **values(Sample)))
def test_every_type_a_contract_may_have_survives_the_journey(sample: Sample) -> None:
    assert Sample.load(json.loads(json.dumps(sample.dump()))) == sample


def test_what_an_older_sender_does_not_know_has_its_default() -> None:
    reported = {"number": 1, "text": "", "at": "2026-03-01T00:00:00+01:00", "day": "2026-03-01", "several": [1, 2]}
    sample = Sample.load(reported)
    assert (sample.flag, sample.remark) == (False, None)
    assert Sample.load({**reported, "remark": None}).remark is None
    for name, wrong in (("remark", 7), ("flag", 1), ("flag", None), *(("at", value) for value in _WRONG[datetime])):
        with pytest.raises(ContractError, match=f"tests.sample.v2.{name}"):
            Sample.load({**reported, name: wrong})


BEFORE = shapes([Sample])


@pytest.mark.parametrize(
    ("field", "shape", "fault"),
    [
        ("text", None, "text is gone"),
        ("text", {"type": "int", "required": True}, "text has another type"),
        ("remark", {"type": "str | None", "required": True}, "remark is required now"),
        ("more", {"type": "int", "required": True}, "more is new and has no default"),
        ("more", {"type": "int", "required": False}, None),
        ("text", {"type": "str", "required": False}, None),
    ],
)
def test_the_lock_distinguishes_a_change_that_breaks_from_one_that_does_not(
    field: str, shape: dict[str, Any] | None, fault: str | None
) -> None:
    fields = {**BEFORE["tests.sample.v2"], field: shape}
    now = {"tests.sample.v2": {name: found for name, found in fields.items() if found is not None}}
    faults = breaks(BEFORE, now)
    assert len(faults) == (0 if fault is None else 1)
    assert fault is None or fault in faults[0]


def test_a_contract_that_is_gone_breaks_the_lock() -> None:
    assert breaks(BEFORE, {}) == ["tests.sample.v2 is gone: keep it until no old message is left"]
