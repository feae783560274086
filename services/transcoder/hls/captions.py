"""Makes WebVTT renditions of captions, and a master playlist that names them. Pure."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.transcoder.errors import WrongOutputError
from services.transcoder.hls.chapters import chapters_name
from services.transcoder.planning.languages import UNKNOWN, language_name
from services.transcoder.planning.source import Chapter
from shared.runtime.webvtt import Cue, parse_captions, write_captions

FOLDER = "captions"
_GROUP = "captions"
#: A segment's times are those of the lesson, which begins at 0.
_HEADER = "X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000"


@dataclass(frozen=True, slots=True)
class Captions:
    """The captions of one language, as the school keeps them."""

    language: str
    body: str
    automatic: bool = False

    @property
    def name(self) -> str:
        """The rendition's folder: named by its content, so that no other bytes ever have the name."""
        digest = hashlib.sha256(f"{self.automatic}\n{self.body}".encode()).hexdigest()
        return f"{FOLDER}/{self.language}-{digest[:16]}"


def captioned_name(tracks: Sequence[Captions], chapters: Sequence[Chapter] | None = None) -> str:
    """The name of the master playlist that has these captions and chapters; without `chapters`, the upload's."""
    names = sorted(track.name for track in tracks)
    if chapters is not None:
        names.append(chapters_name(chapters))
    if not names:
        return "master.m3u8"
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"master-{digest[:16]}.m3u8"


def captioned_master(master: str, tracks: Sequence[Captions]) -> str:
    """`master` with a subtitle rendition for each of `tracks`."""
    media = [
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="{_GROUP}",NAME="{label_of(track)}",LANGUAGE="{track.language}",'
        f'DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="{track.name}/media.m3u8"'
        for track in sorted(tracks, key=lambda track: track.language)
    ]
    lines = []
    for line in master.splitlines():
        if line.startswith("#EXT-X-STREAM-INF:"):
            # before the first variant
            lines += media
            media = []
            line = f'{line},SUBTITLES="{_GROUP}"'
        lines.append(line)
    return "\n".join(lines) + "\n"


def first_media(master: str) -> str:
    """The path of a media playlist of `master`. Raises WrongOutputError where it has none."""
    found = re.search(r"^#EXT-X-STREAM-INF:.*\n([^#\n]+)$", master, re.MULTILINE)
    if not found:
        raise WrongOutputError("The master playlist has no variant.")
    return found[1]


def rendition(track: Captions, media: str) -> Mapping[str, str]:
    """The files of one language, the playlist last, cut where the segments of the playlist `media` are cut.

    Raises WrongOutputError.
    """
    target = re.search(r"^#EXT-X-TARGETDURATION:(\d+)$", media, re.MULTILINE)
    durations = [float(found) for found in re.findall(r"^#EXTINF:([0-9.]+)", media, re.MULTILINE)]
    if not target:
        raise WrongOutputError("The media playlist has no target duration.")
    cues = parse_captions(track.body.encode())
    files, lines = {}, ["#EXTM3U", "#EXT-X-VERSION:7", f"#EXT-X-TARGETDURATION:{target[1]}", "#EXT-X-PLAYLIST-TYPE:VOD"]
    lines.append("#EXT-X-MEDIA-SEQUENCE:0")
    start = 0.0
    for number, duration in enumerate(durations):
        name = f"{number:05d}.vtt"
        files[f"{track.name}/{name}"] = write_captions(_between(cues, start * 1000, (start + duration) * 1000), _HEADER)
        lines += [f"#EXTINF:{duration:.6f},", name]
        start += duration
    # players of MPEG-DASH read the whole text at once
    files[f"{track.name}/whole.vtt"] = write_captions(cues)
    files[f"{track.name}/media.m3u8"] = "\n".join([*lines, "#EXT-X-ENDLIST", ""])
    return files


def _between(cues: Sequence[Cue], start_ms: float, end_ms: float) -> list[Cue]:
    """The cues that are shown in a segment; one that crosses its border is in both, with its own times."""
    return [cue for cue in cues if cue.start_ms < end_ms and cue.end_ms > start_ms]


def label_of(track: Captions) -> str:
    """What a player shows in its menu."""
    name = language_name(track.language) if track.language != UNKNOWN else "Subtitles"
    return f"{name} (auto)" if track.automatic else name
