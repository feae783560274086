"""Parameters of a test whose variations run in `make test-all` alone."""

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark.structures import ParameterSet


def variations(values: Iterable[object], kept: Collection[object]) -> list[ParameterSet]:
    """Each of `values`; `make test` runs the `kept` ones, which prove the behaviour once."""
    chosen = list(values)
    missing = [one for one in kept if one not in chosen]
    assert not missing, f"no value of this test: {missing}"
    return [pytest.param(one, marks=() if one in kept else pytest.mark.slow) for one in chosen]
