"""Rules on groups of renditions: languages and sound."""

from collections import Counter
from collections.abc import Iterator

from services.transcoder.hls.lint.presentation import Presentation
from services.transcoder.hls.lint.rules import must, should


@must("RFC 8216 4.3.4.1", "Each EXT-X-MEDIA has TYPE, GROUP-ID and NAME")
def complete(lesson: Presentation) -> Iterator[str]:
    for line in lesson.master.tags("EXT-X-MEDIA"):
        for attribute in ("TYPE", "GROUP-ID", "NAME"):
            if not line.attributes.get(attribute):
                yield f"line {line.number} has no {attribute}"


@must("Apple 8.10", "Each EXT-X-MEDIA of sound or text has a LANGUAGE")
def language(lesson: Presentation) -> Iterator[str]:
    for line in lesson.master.tags("EXT-X-MEDIA"):
        if line.attributes.get("TYPE") != "VIDEO" and not line.attributes.get("LANGUAGE"):
            yield f"line {line.number}"


@must("RFC 8216 4.3.4.1.1", "Names are unique within a group")
def unique_names(lesson: Presentation) -> Iterator[str]:
    declared = [line.attributes for line in lesson.master.tags("EXT-X-MEDIA")]
    for (_, group, name), count in Counter((a.get("TYPE"), a.get("GROUP-ID"), a.get("NAME")) for a in declared).items():
        if count > 1:
            yield f"{name} stands {count} times in {group}"


@must("RFC 8216 4.3.4.1.1", "A group has at most one default")
def one_default(lesson: Presentation) -> Iterator[str]:
    declared = [line.attributes for line in lesson.master.tags("EXT-X-MEDIA")]
    defaults = Counter((a.get("TYPE"), a.get("GROUP-ID")) for a in declared if a.get("DEFAULT") == "YES")
    for (_, group), count in defaults.items():
        if count > 1:
            yield f"{group} has {count}"


@must("RFC 8216 4.3.4.1", "A default may be selected automatically")
def default_selectable(lesson: Presentation) -> Iterator[str]:
    for line in lesson.master.tags("EXT-X-MEDIA"):
        if line.attributes.get("DEFAULT") == "YES" and line.attributes.get("AUTOSELECT", "YES") == "NO":
            yield f"line {line.number}"


@must("RFC 8216 4.3.4.2", "A variant's groups exist")
def groups_exist(lesson: Presentation) -> Iterator[str]:
    known = {
        (line.attributes.get("TYPE"), line.attributes.get("GROUP-ID")) for line in lesson.master.tags("EXT-X-MEDIA")
    }
    for line in lesson.master.tags("EXT-X-STREAM-INF"):
        for kind in ("AUDIO", "VIDEO", "SUBTITLES"):
            group = line.attributes.get(kind)
            if group is not None and (kind, group) not in known:
                yield f"line {line.number} names {kind} {group}"


@must("RFC 8216 4.3.4.2.1", "Where one variant has a sound group, all have")
def group_everywhere(lesson: Presentation) -> Iterator[str]:
    declared = ["AUDIO" in variant.attributes for variant in lesson.variants]
    if any(declared) and not all(declared):
        yield f"{declared.count(False)} variants without AUDIO"


@should("RFC 8216 4.3.4.1", "Each audio rendition declares its CHANNELS")
def channels_declared(lesson: Presentation) -> Iterator[str]:
    for line in lesson.master.tags("EXT-X-MEDIA"):
        if line.attributes.get("TYPE") == "AUDIO" and not line.attributes.get("CHANNELS"):
            yield f"line {line.number}"


@must("Apple 4.6", "Subtitles may be selected automatically")
def subtitles_selectable(lesson: Presentation) -> Iterator[str]:
    for line in lesson.master.tags("EXT-X-MEDIA"):
        if line.attributes.get("TYPE") == "SUBTITLES" and line.attributes.get("AUTOSELECT") != "YES":
            yield f"line {line.number}"


@must("Apple 2.3", "There is stereo AAC where there is sound")
def stereo(lesson: Presentation) -> Iterator[str]:
    tracks = [media.track for media in lesson.regular if media.track and media.track.channels]
    if tracks and not any(track.channels == 2 and track.codec.startswith("mp4a.40.") for track in tracks):
        yield ", ".join(f"{track.codec} with {track.channels} channels" for track in tracks)


@should("Apple 2.9", "Stereo AAC has 32 to 160 kbit/s")
def sound_rate(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        if media.track and media.track.channels == 2 and media.playlist.duration > 2:
            rate = 8 * sum(segment.size for segment in media.segments) / float(media.playlist.duration)
            # silence and pure tones compress below any target
            if rate > 165_000:
                yield f"{media.name} has {rate / 1000:.0f} kbit/s"


@should("Apple 2.4", "HE-AAC is not used above 64 kbit/s")
def no_rich_he_aac(lesson: Presentation) -> Iterator[str]:
    for media in lesson.regular:
        if media.track and media.track.codec in ("mp4a.40.5", "mp4a.40.29"):
            rate = 8 * sum(segment.size for segment in media.segments) / max(0.001, float(media.playlist.duration))
            if rate > 64_000:
                yield f"{media.name} has {rate / 1000:.0f} kbit/s"
