"""What can go wrong at the transcoder, told apart by whether trying again can help.

TranscoderError
+-- Refused            permanent: this file will never become a lesson; the message is for the teacher
+-- Passing            trying again may help
|   +-- OutOfSpace     the scratch disk is full
|   +-- Stalled        ffmpeg made no progress
|   +-- EncoderFailed  ffmpeg ended with a fault that does not name the file
|   +-- WrongOutput    what came out is not what was planned
+-- Cancelled          somebody asked for the work to stop
+-- NotReady           this machine cannot do the work: the message says the fix
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a file is refused, as one word for programs."""

    NOT_A_VIDEO = "not_a_video"
    UNSUPPORTED = "unsupported"
    DAMAGED = "damaged"
    TOO_LONG = "too_long"
    TOO_SHORT = "too_short"
    TOO_LARGE = "too_large"


class TranscoderError(Exception):
    """The root of every error this service raises on purpose."""


class Refused(TranscoderError):
    """The file can never become a lesson; `str()` is one sentence that a teacher understands."""

    def __init__(self, reason: Reason, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason
        #: What ffmpeg said, for operators; never shown to teachers.
        self.detail = detail


class Passing(TranscoderError):
    """Trying again may help."""


class OutOfSpace(Passing):
    """The scratch disk is full."""

    def __init__(self) -> None:
        super().__init__("The scratch disk is full: free some space or point NOUBA_SCRATCH_DIR at a larger disk.")


class Stalled(Passing):
    """ffmpeg made no progress, or used up its time."""


class EncoderFailed(Passing):
    """ffmpeg ended with a fault that does not name the file as its cause."""


class WrongOutput(Passing):
    """ffmpeg said that all went well, but what it wrote is not what was planned."""


class Cancelled(TranscoderError):
    """Somebody asked for the work to stop."""


class NotReady(TranscoderError):
    """This machine cannot do the work; the message names what is missing and says the fix."""
