"""What every number means, for programs: the same as docs/statistics.md."""

from typing import Any

from services.stats.sections import SECTIONS
from services.stats.sections.base import MetricDefinition, Section
from services.stats.sections.catalogue import IDENTITIES, REVISION, over


def definitions() -> dict[str, Any]:
    """All of them, in the order in which they are shown."""
    return {
        "definitions": REVISION,
        "numbers": [_one(section, number) for section in SECTIONS for number in section.numbers],
        "identities": [{"number": one, "is": other} for one, other in IDENTITIES],
    }


def _one(section: Section, number: MetricDefinition) -> dict[str, Any]:
    return {
        "id": f"{section.name}.{number.name}",
        "unit": number.unit,
        "definition": number.definition,
        "by": number.by,
        "observed": number.observed,
        "over_several_days": over(f"{section.name}.{number.name}"),
        "source": number.source or section.source,
        "reconciles": number.reconciles,
        "reference": number.reference,
    }
