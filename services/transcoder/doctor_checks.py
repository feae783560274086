"""Doctor checks of the transcoder: ffmpeg, sandbox, disk space."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from services.transcoder.encoding_settings import EncodingSettings
from services.transcoder.errors import EnvironmentNotReadyError, RejectedInputError, TransientError
from services.transcoder.ffmpeg.process import Ffmpeg
from services.transcoder.worker_settings import BucketSettings, WorkerSettings
from shared.operations.doctor.findings import Check, Finding, fault, fine
from shared.operations.doctor.s3 import check_bucket
from shared.runtime.settings import read_settings

#: What the ladder is encoded with; a build without licences leaves the first out.
ENCODERS = ("libx264", "aac", "mjpeg")
_INSTALL = "Install a full build (`apt-get install ffmpeg`), or name one with NOUBA_FFMPEG and NOUBA_FFPROBE."


def _ffmpeg() -> Iterator[Finding]:
    settings = read_settings(EncodingSettings)
    try:
        ffmpeg = Ffmpeg(settings.ffmpeg, settings.ffprobe, confinement=settings.sandbox)
    except EnvironmentNotReadyError as error:
        yield fault("ffmpeg", str(error), _INSTALL)
        return
    listed = subprocess.run(
        [shutil.which(settings.ffmpeg) or settings.ffmpeg, "-hide_banner", "-encoders"],
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    known = {line.split()[1] for line in listed.splitlines() if len(line.split()) > 1}
    if missing := [encoder for encoder in ENCODERS if encoder not in known]:
        yield fault("ffmpeg", f"This ffmpeg has no {' and no '.join(missing)}.", _INSTALL)
        return
    yield _confined(ffmpeg)


def _confined(ffmpeg: Ffmpeg) -> Finding:
    with tempfile.TemporaryDirectory(prefix="nouba-doctor-") as folder:
        try:
            ffmpeg.encode(["-f", "lavfi", "-i", "color=s=64x64:d=0.1", "-c:v", "libx264", "one.mp4"], Path(folder))
        except EnvironmentNotReadyError as error:
            return fault("sandbox", str(error), "Run it where the kernel has Landlock (Linux 5.13 or newer).")
        except (RejectedInputError, TransientError) as error:
            return fault("ffmpeg", f"It cannot encode a tenth of a second: {error}", _INSTALL)
    return fine("ffmpeg", "It encodes H.264, confined to its folder and without network.")


def _scratch() -> Iterator[Finding]:
    folder = read_settings(EncodingSettings).transcoder_scratch_dir or Path(tempfile.gettempdir())
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        yield fault(
            "scratch space",
            f"{folder} is no folder that this user may write to.",
            "Set NOUBA_TRANSCODER_SCRATCH_DIR to one.",
        )
        return
    free_bytes = shutil.disk_usage(folder).free
    needed_bytes = int(WorkerSettings.model_fields["transcoder_scratch_reserve_bytes"].default)
    if free_bytes < needed_bytes:
        yield fault(
            "scratch space",
            f"{folder} has {free_bytes / 1e9:.1f} GB left; uploads need {needed_bytes / 1e9:.1f} GB beside them.",
            "Free some, or set NOUBA_TRANSCODER_SCRATCH_DIR to a larger disk.",
        )
    else:
        yield fine("scratch space", f"{folder} has {free_bytes / 1e9:.0f} GB left.")


def _bucket() -> Iterator[Finding]:
    settings = read_settings(BucketSettings)
    yield from check_bucket(settings.s3_bucket, settings.s3_endpoint_url)


CHECKS: tuple[Check, ...] = (_ffmpeg, _scratch, _bucket)
