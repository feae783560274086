"""What all tests of the transcoder share."""

from tests.transcoder.films import ffmpeg, film, lesson_of

__all__ = ["ffmpeg", "film", "lesson_of"]
