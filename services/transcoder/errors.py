"""Errors of the transcoder, by whether a retry can help.

TranscoderError
+-- RejectedInputError            permanent: this file will never become a lesson; the message is for the teacher
+-- TransientError                trying again may help
|   +-- OutOfSpaceError           the scratch disk is full
|   +-- StalledError              ffmpeg made no progress
|   +-- EncoderFailedError        ffmpeg ended with a fault that does not name the file
|   +-- WrongOutputError          what came out is not what was planned; final where it comes again
|   +-- ObjectStoreUnavailableError S3 did not answer as it should
+-- JobCancelledError             an operator or the school cancelled the job
+-- NoSuchObjectError             the object is not in S3
+-- UnknownCourseError            no such course
+-- UnknownJobError               no such job, or not in the state that this needs
+-- EnvironmentNotReadyError      this machine cannot do the work: the message says the fix
"""

from enum import StrEnum


class Reason(StrEnum):
    """Why a file is refused, as one word for programs."""

    NOT_A_VIDEO = "not_a_video"
    UNSUPPORTED = "unsupported"
    DAMAGED = "damaged"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"


class TranscoderError(Exception):
    """The root of every error this service raises on purpose."""


class RejectedInputError(TranscoderError):
    """The file can never become a lesson; `str()` is one sentence that a teacher understands."""

    def __init__(self, reason: Reason, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.reason = reason
        #: What ffmpeg said, for operators; never shown to teachers.
        self.detail = detail


class TransientError(TranscoderError):
    """Trying again may help."""


class OutOfSpaceError(TransientError):
    """The scratch disk is full."""

    def __init__(self) -> None:
        super().__init__(
            "The scratch disk is full: free some space or point NOUBA_TRANSCODER_SCRATCH_DIR at a larger disk."
        )


class StalledError(TransientError):
    """ffmpeg made no progress, or used up its time."""


class EncoderFailedError(TransientError):
    """ffmpeg ended with a fault that does not name the file as its cause."""


class WrongOutputError(TransientError):
    """ffmpeg said that all went well, but what it wrote is not what was planned. A few times is for ever."""


class ObjectStoreUnavailableError(TransientError):
    """S3 did not answer, or answered with a fault of its own."""


class NoSuchObjectError(TranscoderError):
    """S3 has no such object, or has other bytes under its name by now."""


class UnknownCourseError(TranscoderError):
    """A message names a course that does not exist; trying again cannot help."""

    def __init__(self, course_id: int) -> None:
        super().__init__(f"There is no course {course_id}: check the number.")


class UnknownJobError(TranscoderError):
    """There is no such job, or it is not in the state that this needs; the message says which."""


class JobCancelledError(TranscoderError):
    """Somebody asked for the work to stop."""


class EnvironmentNotReadyError(TranscoderError):
    """This machine cannot do the work; the message names what is missing and says the fix."""
