"""Errors of playback, by whose fault they are.

PlaybackError
+-- UnknownFile           404: the lesson has no such file, the course no such key
+-- InvalidRange          416
+-- StorageUnavailable    503: S3 or the database did not answer
"""


class PlaybackError(Exception):
    """The root of every error this service raises on purpose."""


class UnknownFileError(PlaybackError):
    """The lesson has no such file."""

    def __init__(self) -> None:
        super().__init__("The lesson has no such file.")


class InvalidRangeError(PlaybackError):
    """The range begins behind the file's end."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"The file has {size_bytes} bytes.")
        self.size_bytes = size_bytes


class StorageUnavailableError(PlaybackError):
    """S3 or the database did not answer; trying again may help."""
