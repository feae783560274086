"""What every number means, by its id; the reference page docs/statistics.md is written from here."""

from functools import cache

from services.stats.sections import SECTIONS
from services.stats.sections.base import MetricDefinition, Section

#: Raised with every change of what a number means, so that older days are seen to be of older definitions.
REVISION = 3

#: What the issue of daily statistics would like to know and the data do not say; a number is never made up.
LEFT_OUT = {
    "users who logged in": "only the last login of a user is kept, so a day's logins are forgotten at the next one",
    "webhooks that came twice": "a repetition leaves no row; Prometheus counts it (nouba_gateway_requests_total)",
    "webhooks that were refused": "what proves nothing is not kept; Prometheus counts it",
    "jobs of the queues": "that a message was done or tried again leaves no row; Prometheus counts it "
    "(nouba_jobs_total); here is what became of the webhooks and of the transcodings, which is in the database",
    "storage beside the videos": "the store alone knows what else it holds",
    "a transcoding that failed and was tried again": "only its last end is kept",
    "when a subscription was cancelled": "only that it was; it counts until its end",
    "when a payment failed": "only that it did; it counts in the day in which it was begun",
}


def find(name: str) -> list[tuple[Section, MetricDefinition]]:
    """The numbers whose id is `name` or begins like it; all of a section for a section's name."""
    return [
        (section, number)
        for section in SECTIONS
        for number in section.numbers
        if f"{section.name}.{number.name}".startswith(name)
    ]


@cache
def observed_names(section_name: str) -> tuple[str, ...]:
    """The numbers of a section that can be known at the day's end only."""
    return tuple(
        number.name
        for section in SECTIONS
        for number in section.numbers
        if section.name == section_name and number.observed
    )


@cache
def reach_of(name: str) -> int:
    """For how many days a fact in this number has a say; 0 for what no definition names."""
    return max(
        (number.reach_days for section, number in find(name) if f"{section.name}.{number.name}" == name), default=0
    )


def is_observed(name: str) -> bool:
    """Whether the number `section.name` is known at the day's end only."""
    section, _, number = name.partition(".")
    return number in observed_names(section)


def as_markdown() -> str:
    """The reference page."""
    lines = [
        "# What the statistics count",
        "",
        "Written by `nouba stats explain --markdown`; a test keeps it true.",
        "",
        "A day is [midnight, midnight) in the school's zone. Every number is an integer: amounts in minor units of the "
        "school's currency (centimes), ratios in basis points (hundredths of a percent), means in hundredths, times in "
        "milliseconds, the length of videos in minutes, sizes in bytes. Rounding is to the nearest, halves up. A "
        "breakdown names the 50 largest keys; `~others` is the "
        "rest and `~none` an empty field.",
        "",
        "A number marked *end* has a source that keeps no history. It is read within 24 hours of the day's end, kept "
        "in all later versions of the day, and left out where the day was first computed later.",
    ]
    for section in SECTIONS:
        lines += ["", f"## {section.name}", "", "| number | unit | what it is |", "|---|---|---|"]
        for number in section.numbers:
            by = f" By {number.by}." if number.by else ""
            end = " *end*" if number.observed else ""
            lines.append(f"| `{number.name}` | {number.unit} | {number.definition}{by}{end} |")
    lines += ["", "## What is left out", "", "A number that the data do not say is not made up.", ""]
    lines += [f"- {what}: {why}." for what, why in LEFT_OUT.items()]
    return "\n".join(lines) + "\n"
