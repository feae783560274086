"""The house style that a machine can see."""

import ast
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT, functions, modules

pytestmark = pytest.mark.lint

MAX_FUNCTION = 40
EVERYTHING = modules(*PACKAGES, "tests")
FORBIDDEN_NAMES = {"manager", "utils", "util", "common", "helpers", "helper", "misc"}


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, "open the module with one sentence that says what it is for"
    assert docstring.split("\n\n")[0].rstrip().endswith((".", ":", "?")), "the first paragraph is a sentence"


# what a migration does is one list, which Alembic writes
WRITTEN_BY_HAND = [path for path in modules(*PACKAGES) if path.parent.name != "versions"]


@pytest.mark.parametrize("path", WRITTEN_BY_HAND, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_function_is_short(path: Path) -> None:
    long = {name: lines for name, lines in functions(path) if lines > MAX_FUNCTION}
    assert not long, f"a function has up to {MAX_FUNCTION} lines: a longer one hides a noun"


def test_no_module_is_named_for_what_it_is_not() -> None:
    words = {path: set(path.stem.split("_")) for path in EVERYTHING}
    assert [path for path, found in words.items() if found & FORBIDDEN_NAMES] == []
