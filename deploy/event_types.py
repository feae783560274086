# ruff: noqa: E501 - a page is one line a paragraph
"""Prints docs/event-types.md from the contracts of events: `python -m deploy.event_types > docs/event-types.md`."""

import json

from shared.contracts.event_types import EVENTS, Ping, schema_of

_HEAD = """\
# Event types

The types of [events](events.md) and the fields of each. `python -m deploy.event_types` generates this page from [shared/contracts/event_types.py](../shared/contracts/event_types.py).
Fields are only ever added. A receiver ignores fields and types that it does not know.
"""


def page() -> str:
    """docs/event-types.md."""
    lines = [_HEAD, "| type | meaning | fields of `data` |", "|---|---|---|"]
    for event in (*EVENTS, Ping):
        schema = schema_of(event)
        fields = ", ".join(f"`{name}`" for name in schema["properties"]["data"]["properties"])
        lines.append(f"| [`{event.name}`](#{event.name.replace('.', '')}) | {schema['description']} | {fields} |")
    lines += ["", "## JSON Schemas"]
    for event in (*EVENTS, Ping):
        lines += ["", f"### {event.name}", "", "```json", json.dumps(schema_of(event), indent=2), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
