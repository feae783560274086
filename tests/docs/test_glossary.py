"""One word for one thing: no file gets a word that the glossary has retired."""

import pytest

from tests.docs.retired_words import allowed, found, retired, shrink

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
