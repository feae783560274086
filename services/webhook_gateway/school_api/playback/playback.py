"""Use case: sign a link by which one viewer may watch one lesson for a while."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.webhook_gateway.errors import LessonNotReadyError, PlaybackOffError
from shared.runtime.playback_links import sign_path


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to watch, for how long, and from where where that is known."""

    viewer: str
    ttl: timedelta
    address: str | None = None


@dataclass(frozen=True, slots=True)
class PlaybackLink:
    """What a player is given."""

    master_url: str
    expires_at: datetime


class Lessons(Protocol):
    """What courses show."""

    def master_key(self, course_id: int) -> str | None:
        """The master playlist that a course shows, None where it shows nothing yet. Raises UnknownCourseError."""
        ...


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs addresses below `base_url` with the first of `secrets`; without one, playback is off."""

    base_url: str
    secrets: tuple[bytes, ...]

    def sign(self, course_id: int, wish: Wish, lessons: Lessons, now: datetime) -> PlaybackLink:
        """An address for the lesson of a course. Raises UnknownCourseError, LessonNotReadyError or PlaybackOffError."""
        if not self.secrets or not self.base_url:
            raise PlaybackOffError
        master_key = lessons.master_key(course_id)
        if master_key is None:
            raise LessonNotReadyError(course_id)
        expires_at = (now + wish.ttl).replace(microsecond=0)
        path = sign_path(master_key, self.secrets[0], wish.viewer, int(expires_at.timestamp()), wish.address)
        return PlaybackLink(self.base_url.rstrip("/") + path, expires_at)
