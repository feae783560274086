"""docs/event-types.md has every type of event as its contract has it."""

from pathlib import Path

import pytest

from deploy import event_types

pytestmark = pytest.mark.lint

PAGE = Path(__file__).parents[2] / "docs" / "event-types.md"


def test_the_page_is_made_of_the_contracts() -> None:
    assert PAGE.read_text() == event_types.page(), "run `python -m deploy.event_types > docs/event-types.md`"
