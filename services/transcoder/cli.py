"""`nouba transcoder`: encode, check and transcode videos.

`run` and `lint` need no server, and so import nothing that the others do.
"""

import click

from shared.runtime.lazy_group import LazyGroup, Place

_JOBS = "services.transcoder.cli_jobs"
_PLACES = {
    "cancel": Place(f"{_JOBS}:cancel", "Cancel a job; workers stop within two seconds."),
    "jobs": Place(f"{_JOBS}:jobs", "List the newest jobs: their progress, failures and warnings."),
    "lint": Place("services.transcoder.hls.lint.cli:lint", "Check a lesson against Apple's rules and RFC 8216."),
    "retry": Place(f"{_JOBS}:retry", "Retry a failed or cancelled job; completed tasks are kept."),
    "run": Place("services.transcoder.cli_run:run", "Encode FILE to HLS in a new folder, without servers."),
    "submit": Place(f"{_JOBS}:submit", "Upload FILE for a course, and enqueue its transcoding."),
    "transcribe": Place(f"{_JOBS}:transcribe", "Make automatic captions of a completed job's lesson again."),
    "worker": Place(f"{_JOBS}:worker", "Run a transcoding worker (queue `videos`)."),
}


@click.group(cls=LazyGroup, places=_PLACES)
def transcoder() -> None:
    """Turn uploads into adaptive HLS.

    \b
    Examples:
      nouba transcoder run lesson.mp4 --out lesson     without servers
      nouba transcoder lint lesson/master.m3u8         check it against Apple's rules and RFC 8216
    """
