"""The pages about security name files that exist, and each requirement once."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.lint
DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["security.md", "asvs.md", "roles.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    named = re.findall(r"\]\((?!http)([^)#]+)", (DOCS / page).read_text())

    assert named
    assert [path for path in named if not (DOCS / path).exists()] == []


def test_each_requirement_has_one_line_and_a_reason() -> None:
    rows = re.findall(r"^\| (\d[^|]*) \| (\w+|n/a) \| ([^|]+) \|$", (DOCS / "asvs.md").read_text(), re.MULTILINE)
    numbers = [number for row in rows for number in re.findall(r"\d+\.\d+(?:\.\d+)?", row[0])]

    assert len(numbers) > 150
    assert len(numbers) == len(set(numbers))
    assert {row[1] for row in rows} <= {"met", "proxy", "n/a", "open"}
