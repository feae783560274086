"""`/healthz` of every server: the process answers, with the id of its start."""

import os

#: Names the start in whose environment it is: two stacks that fight for a port are distinguished by it.
SETTING = "NOUBA_INSTANCE"
HEADER = "Nouba-Instance"


def healthy() -> tuple[dict[str, str], int, dict[str, str]]:
    """What a view of Flask returns."""
    instance = os.environ.get(SETTING, "")
    return {"status": "ok"}, 200, {HEADER: instance} if instance else {}
