"""Use case: from the measured parts of a lesson to its playlists, once everything is proved to be there. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from services.transcoder.measure import INIT_NAME, Part
from services.transcoder.plan import Plan
from services.transcoder.playlists import (
    IFRAMES_NAME,
    MASTER_NAME,
    MEDIA_NAME,
    Lock,
    iframe_playlist,
    master_playlist,
    media_playlist,
    target_seconds,
)
from services.transcoder.renditions import Rendition, check_against, put_together


@dataclass(frozen=True, slots=True)
class Assembly:
    """What has to be published: `media` must already stand there; `playlists` are written in order, the master last."""

    media: tuple[str, ...]
    playlists: dict[str, str]
    renditions: dict[str, Rendition]
    duration_seconds: Fraction


def assemble(plan: Plan, parts: Iterable[Part], lock: Lock | None = None) -> Assembly:
    """The playlists of `plan` from all its parts. Raises WrongOutput where a picture or a second is missing."""
    renditions = put_together(parts)
    check_against(plan, renditions)
    pictures = [renditions[rung.name] for rung in plan.rungs]
    sounds = [(sound, renditions[sound.name]) for sound in plan.sounds]
    target = target_seconds(list(renditions.values()))
    playlists: dict[str, str] = {}
    for name, rendition in renditions.items():
        playlists[f"{name}/{MEDIA_NAME}"] = media_playlist(rendition, target, lock)
    for rendition in pictures:
        playlists[f"{rendition.name}/{IFRAMES_NAME}"] = iframe_playlist(rendition, lock)
    playlists[MASTER_NAME] = master_playlist(pictures, sounds, plan.rate)
    media = [name for rendition in renditions.values() for name in _files(rendition)]
    return Assembly(tuple(media), playlists, renditions, plan.duration_seconds)


def _files(rendition: Rendition) -> list[str]:
    names = [INIT_NAME, *(segment.name for segment in rendition.segments)]
    names += [frame.file for segment in rendition.segments for frame in segment.key_frames if frame.file]
    return [f"{rendition.name}/{name}" for name in names]
