"""No place where the code can be broken on purpose goes without a test that breaks it there."""

import re

from tests.architecture.source import ROOT, modules
from tests.failpoint_places import ELSEWHERE, TABLES

#: The name, which may have a part that is filled in.
_CALL = re.compile(r"""\bfailpoint\(\s*f?["']([^"']+)["']""")
PLACES = ROOT / "tests" / "failpoint_places.py"


def in_code() -> list[str]:
    """Every name in the code; what is filled in stands in braces."""
    return [name for path in modules("services", "shared") for name in _CALL.findall(path.read_text())]


def is_for(name: str, table_name: str) -> bool:
    pattern = ".+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", name))
    return re.fullmatch(pattern, table_name) is not None


def in_tables() -> set[str]:
    return {place for places in TABLES.values() for place in places} | set(ELSEWHERE)


def test_every_failpoint_of_the_code_is_in_a_table() -> None:
    missing = [name for name in in_code() if not any(is_for(name, place) for place in in_tables())]
    assert missing == [], "put them into tests/failpoint_places.py, in the table of their area"


def test_every_place_in_a_table_is_in_the_code() -> None:
    found = in_code()
    gone = [place for place in in_tables() if not any(is_for(name, place) for name in found)]
    assert gone == [], "these are gone from the code; take them out of tests/failpoint_places.py"


def test_no_name_stands_at_two_places() -> None:
    assert sorted(in_code()) == sorted(set(in_code()))


def test_every_table_is_used_in_all_three_ways_by_the_test_it_is_for() -> None:
    for file in TABLES:
        names = set(re.findall(r"\b[A-Z]+\b", (ROOT / file).read_text()))
        assert names >= {"ACTIONS"} or names >= {"KILL", "RAISE", "DELAY"}, file
        assert names & {"INTAKE", "RELAY", "SETTLEMENT", "BATCHES", "TRANSCODER", "STATISTICS"}, file


def test_what_is_broken_elsewhere_is_named_there() -> None:
    tests = [path.read_text() for path in modules("tests") if path != PLACES]
    assert [place for place in ELSEWHERE if not any(names(text, place) for text in tests)] == []


def names(text: str, place: str) -> bool:
    """Whether a test has the whole name, or its area before something that is filled in, and its step."""
    area, _, step = place.rpartition(".")
    return place in text or (f'"{area}.{{' in text and f'"{step}"' in text)
