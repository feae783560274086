"""The answer of every `/healthz`: this process answers, and which start it belongs to."""

import os

#: Names the start in whose environment it is: two stacks that fight for a port are told apart by it.
SETTING = "NOUBA_INSTANCE"
HEADER = "Nouba-Instance"


def healthy() -> tuple[dict[str, str], int, dict[str, str]]:
    """What a view of Flask returns."""
    instance = os.environ.get(SETTING, "")
    return {"status": "ok"}, 200, {HEADER: instance} if instance else {}
