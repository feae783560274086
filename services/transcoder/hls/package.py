"""Use case: from measured segments to playlists, once every object is there. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from services.transcoder.hls.captions import Captions, captioned_master, first_media, rendition
from services.transcoder.hls.chapters import CHAPTERS_NAME, chapter_list
from services.transcoder.hls.dash import MANIFEST_NAME, captioned_manifest, manifest
from services.transcoder.hls.playlists import (
    IFRAMES_NAME,
    MASTER_NAME,
    MEDIA_NAME,
    Lock,
    iframe_playlist,
    master_playlist,
    media_playlist,
    target_seconds,
)
from services.transcoder.hls.rendition_assembly import Rendition, assemble_rendition, validate
from services.transcoder.hls.segment_metadata import INIT_NAME, RenditionSlice
from services.transcoder.planning.plan import Plan, Sound
from services.transcoder.planning.source import Chapter


@dataclass(frozen=True, slots=True)
class Package:
    """What has to be published: `media` must already stand there; `playlists` are written in order, the master last."""

    media: tuple[str, ...]
    playlists: dict[str, str]
    renditions: dict[str, Rendition]
    duration_seconds: Fraction


def assemble(plan: Plan, parts: Iterable[RenditionSlice], lock: Lock | None = None) -> Package:
    """The playlists of `plan` from all its parts. Raises WrongOutputError where a picture or a second is missing."""
    renditions = assemble_rendition(parts)
    validate(plan, renditions)
    pictures = [renditions[rung.name] for rung in plan.rungs]
    sounds = [(sound, renditions[sound.name]) for sound in plan.sounds]
    made = playlists_of(pictures, sounds, plan.rate, lock, _chapters(plan))
    if lock:
        return made
    manifest_text = manifest(pictures, sounds, plan.rate)
    return replace(made, playlists={MANIFEST_NAME: manifest_text, **made.playlists})


def _chapters(plan: Plan) -> list[Chapter]:
    return [chapter for chapter in plan.source.chapters if chapter.start_seconds < plan.duration_seconds]


def playlists_of(
    pictures: Sequence[Rendition],
    sounds: Sequence[tuple[Sound, Rendition]],
    rate: Fraction,
    lock: Lock | None = None,
    chapters: Sequence[Chapter] = (),
) -> Package:
    """All playlists for renditions that are known to be whole."""
    renditions = [*pictures, *(rendition for _, rendition in sounds)]
    target = target_seconds(renditions)
    playlists = {f"{one.name}/{MEDIA_NAME}": media_playlist(one, target, lock) for one in renditions}
    playlists |= {f"{one.name}/{IFRAMES_NAME}": iframe_playlist(one, lock) for one in pictures}
    lasts = max(one.duration_seconds for one in renditions)
    if chapters:
        playlists[CHAPTERS_NAME] = chapter_list(chapters, lasts)
    playlists[MASTER_NAME] = master_playlist(pictures, sounds, rate, has_chapters=bool(chapters))
    media = tuple(name for one in renditions for name in _files(one))
    return Package(media, playlists, {one.name: one for one in renditions}, lasts)


def with_captions(package: Package, tracks: Sequence[Captions]) -> Package:
    """`package` with a subtitle rendition for each of `tracks`, named in its own master."""
    if not tracks:
        return package
    playlists = dict(package.playlists)
    master = playlists.pop(MASTER_NAME)
    media = playlists[first_media(master)]
    for track in tracks:
        playlists |= rendition(track, media)
    if MANIFEST_NAME in playlists:
        playlists[MANIFEST_NAME] = captioned_manifest(playlists[MANIFEST_NAME], tracks)
    return replace(package, playlists={**playlists, MASTER_NAME: captioned_master(master, tracks)})


def _files(rendition: Rendition) -> list[str]:
    names = [INIT_NAME, *(segment.name for segment in rendition.segments)]
    names += [frame.file for segment in rendition.segments for frame in segment.key_frames if frame.file]
    return [f"{rendition.name}/{name}" for name in names]
