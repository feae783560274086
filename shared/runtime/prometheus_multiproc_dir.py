"""Prepares the folder in which a server's processes add up metrics; import it before prometheus_client."""

import os
from collections.abc import Callable
from pathlib import Path

from shared.runtime.process_tempdir import ProcessTempDir


def add_up_metrics(service: str, directory: Path | None) -> Callable[[], None]:
    """Have the processes of this server count in `directory`, or else in a folder of its own.

    Returns what to call when all of them have ended. Else as `add_up_metrics_in`.
    """
    if directory is not None:
        add_up_metrics_in(directory)
        return lambda: None
    own = ProcessTempDir(f"nouba-{service}-metrics-")
    add_up_metrics_in(own.path)
    return own.remove


def add_up_metrics_in(directory: Path) -> None:
    """Have the processes of this server count in `directory`, and forget those of its last start.

    Call it before anything that counts is imported: prometheus_client decides at import where it counts.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
