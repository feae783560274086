"""The French of the console and the statistics is typeset as French is."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
CATALOGUES = ("services/console/translations/fr.toml", "services/stats/api/translations/fr.toml")
#: A sign without the no-break space beside it, and an apostrophe of a typewriter. A colon in a time has no space.
_FAULT = re.compile(r"(?<!\u00a0)[;?!»]|(?<!\u00a0):(?!\d)|«(?!\u00a0)|'")


@pytest.mark.lint
@pytest.mark.parametrize("catalogue", CATALOGUES)
def test_signs_stand_beside_a_no_break_space_and_apostrophes_are_typographic(catalogue: str) -> None:
    texts = list(_texts(tomllib.loads((PROJECT / catalogue).read_text("utf-8"))))

    assert len(texts) > 100
    assert [text for text in texts if _FAULT.search(text)] == []


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    else:
        for one in found.values():
            yield from _texts(one)
