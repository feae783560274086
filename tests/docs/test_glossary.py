"""One word for one thing: no file gets a word that the glossary has retired."""

import re
from collections import Counter

import pytest

from tests.docs.retired_words import GLOSSARY, ROOT, allowed, found, retired, shrink

pytestmark = pytest.mark.lint


def test_no_file_gets_a_retired_word() -> None:
    new = set(found()) - allowed()
    assert not new, "docs/glossary.md says what to write instead"


def test_the_list_of_files_that_still_have_one_shrinks() -> None:
    gone = allowed() - set(found())
    assert not gone, "take these out of the list: python -m tests.docs.retired_words"


def test_the_glossary_has_a_word_once() -> None:
    assert "promise" in retired()
    assert len(retired()) == 22


def test_the_command_removes_lines_and_adds_none() -> None:
    lines = ["a.py\tlook\ttell", "b.py\tdesk"]
    there = {("a.py", "tell"), ("c.py", "promise")}
    assert shrink(lines, there) == ["a.py\ttell"]


def test_a_word_has_one_meaning() -> None:
    table = GLOSSARY.read_text().partition("## Retired words")[0]
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table, re.MULTILINE)
    words = Counter(word.strip() for row in rows for word in row.split(",") if word.strip() not in ("word", "---"))
    assert [word for word, count in words.items() if count > 1] == []


def test_bounds_are_called_max_and_min() -> None:
    found = {
        name
        for root in ("services", "shared", "local", "bench", "deploy", "tests")
        for path in (ROOT / root).rglob("*.py")
        for name in re.findall(r"^_?(?:MOST|LEAST|LONGEST|SHORTEST)_[A-Z0-9_]+", path.read_text(), re.MULTILINE)
    }
    assert found == set()
