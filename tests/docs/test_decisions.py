"""Decisions are numbered without a gap, dated, and listed in the index."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.lint

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))


def test_numbers_have_no_gap() -> None:
    assert [int(page.name[:4]) for page in PAGES] == list(range(1, len(PAGES) + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_a_date_its_parts_and_a_line_in_the_index(page: Path) -> None:
    text = page.read_text()
    title = re.match(r"# (\d{4})\. (.+)\n\n(\d{4}-\d{2}-\d{2}) · \w+", text)
    assert title is not None, "begin with `# NNNN. Title` and `YYYY-MM-DD · accepted`"
    assert title[1] == page.name[:4]
    assert [part for part in ("## Context", "## Decision", "## Consequences") if part not in text] == []
    assert f"| [{title[1]}]({page.name}) | {title[3]} | {title[2]} |" in (FOLDER / "index.md").read_text()
