"""The form of every contract when it was shipped: `python -m tests.contracts.lock` writes down what was added."""

import dataclasses
import inspect
import json
import sys
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from shared.contracts.message import Message
from shared.contracts.routes import ROUTES

PATH = Path(__file__).with_name("contracts.lock.json")

#: By wire name, by field: the type as it is written, and whether a payload without the field is broken.
Shapes = Mapping[str, Mapping[str, Mapping[str, Any]]]


MESSAGES = tuple(route.message for route in ROUTES)


def shapes(messages: Iterable[type[Message]] = MESSAGES) -> Shapes:
    """The form of the contracts now."""
    return {message.wire_name(): _fields(message) for message in messages}


def locked() -> Shapes:
    """Their form when they were shipped."""
    found: Shapes = json.loads(PATH.read_text())
    return found


def breaks(before: Shapes, now: Shapes) -> list[str]:
    """Why messages that are under way, or services that are not deployed yet, could not live with the change."""
    faults = [f"{name} is gone: keep it until no old message is left" for name in before if name not in now]
    for name in before.keys() & now.keys():
        for field, shape in before[name].items():
            if field not in now[name]:
                faults.append(f"{name}.{field} is gone: make a new version")
            elif now[name][field]["type"] != shape["type"]:
                faults.append(f"{name}.{field} has another type: make a new version")
            elif now[name][field]["required"] and not shape["required"]:
                faults.append(f"{name}.{field} is required now: older senders do not report it")
        faults += [
            f"{name}.{field} is new and has no default: older senders do not report it"
            for field, shape in now[name].items()
            if field not in before[name] and shape["required"]
        ]
    return sorted(faults)


def write() -> None:
    """Write down what was added. Exits with the faults where anything else changed."""
    if PATH.exists() and (faults := breaks(locked(), shapes())):
        sys.exit("\n".join(faults))
    PATH.write_text(json.dumps(shapes(), indent=2, sort_keys=True) + "\n")


def _fields(message: type[Message]) -> dict[str, dict[str, Any]]:
    hints = typing.get_type_hints(message)
    return {
        field.name: {
            "type": inspect.formatannotation(hints[field.name]),
            "required": field.default is dataclasses.MISSING,
        }
        for field in dataclasses.fields(message)
    }


if __name__ == "__main__":
    write()
