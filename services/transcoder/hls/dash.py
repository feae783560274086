"""Writes the MPEG-DASH manifest of a lesson (ISO 23009-1) on the same CMAF segments as its playlists. Pure.

Encrypted lessons have none: DASH players decrypt samples (CENC), not whole files as HLS's AES-128 does.
"""

import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from xml.sax.saxutils import escape, quoteattr

from services.transcoder.hls.captions import Captions, label_of
from services.transcoder.hls.playlists import rates_of, target_seconds
from services.transcoder.hls.rendition_assembly import Rendition
from services.transcoder.planning.plan import Sound

MANIFEST_NAME = "manifest.mpd"
_CHANNELS = "urn:mpeg:dash:23003:3:audio_channel_configuration:2011"
_ROLE = "urn:mpeg:dash:role:2011"
_TEMPLATE = 'media="$RepresentationID$/$Number%05d$.m4s" initialization="$RepresentationID$/init.mp4" startNumber="0"'


def manifest(pictures: Sequence[Rendition], sounds: Sequence[tuple[Sound, Rendition]], rate: Fraction) -> str:
    """All renditions; sound in a set for each language and number of channels, so that players choose between them."""
    renditions = [*pictures, *(rendition for _, rendition in sounds)]
    target = target_seconds(renditions)
    lasts = max(float(one.duration_seconds) for one in renditions)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static"'
        f' mediaPresentationDuration="PT{lasts:.3f}S" maxSegmentDuration="PT{target}S" minBufferTime="PT{target}S">',
        '<Period id="0" start="PT0S">',
    ]
    if pictures:
        lines.append(
            '<AdaptationSet contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">'
        )
        for one in pictures:
            size = f'width="{one.track.width}" height="{one.track.height}" sar="1:1"'
            speed = f'frameRate="{rate.numerator}/{rate.denominator}"'
            lines += _representation(one, target, f"{size} {speed}")
        lines.append("</AdaptationSet>")
    for sound, one in sounds:
        role = "main" if sound.default else "alternate"
        lines += [
            f'<AdaptationSet contentType="audio" mimeType="audio/mp4" lang={quoteattr(sound.language)}'
            ' segmentAlignment="true" startWithSAP="1">',
            f'<Role schemeIdUri="{_ROLE}" value="{role}"/>',
            f"<Label>{escape(sound.title)}</Label>",
            *_representation(
                one,
                target,
                f'audioSamplingRate="{one.track.sample_rate}"',
                f'<AudioChannelConfiguration schemeIdUri="{_CHANNELS}" value="{sound.channels}"/>',
            ),
            "</AdaptationSet>",
        ]
    return "\n".join([*lines, "</Period>", "</MPD>", ""])


def manifest_name(master_name: str) -> str:
    """The manifest beside a master, with the same captions."""
    return master_name.replace("master", "manifest").replace(".m3u8", ".mpd")


def captioned_manifest(text: str, tracks: Sequence[Captions]) -> str:
    """The manifest `text` with the whole WebVTT file of each of `tracks`."""
    sets = [
        f'<AdaptationSet contentType="text" mimeType="text/vtt" lang={quoteattr(track.language)}>\n'
        f'<Role schemeIdUri="{_ROLE}" value="subtitle"/>\n<Label>{escape(label_of(track))}</Label>\n'
        f'<Representation id={quoteattr(track.name)} bandwidth="256"><BaseURL>{track.name}/whole.vtt</BaseURL>'
        "</Representation>\n</AdaptationSet>\n"
        for track in sorted(tracks, key=lambda track: track.language)
    ]
    return text.replace("</Period>", "".join(sets) + "</Period>")


def _representation(one: Rendition, target: int, attributes: str, *children: str) -> list[str]:
    peak, _ = rates_of(one, target)
    return [
        f'<Representation id="{one.name}" codecs="{one.track.codec}" bandwidth="{peak}" {attributes}>',
        *children,
        f'<SegmentTemplate timescale="{one.track.timescale}" {_TEMPLATE}>',
        "<SegmentTimeline>",
        *_timeline(one),
        "</SegmentTimeline>",
        "</SegmentTemplate>",
        "</Representation>",
    ]


def _timeline(one: Rendition) -> Iterable[str]:
    starts = [segment.time for segment in one.segments] + [one.segments[-1].end]
    steps = [end - start for start, end in itertools.pairwise(starts)]
    at = starts[0]
    for duration, group in itertools.groupby(steps):
        count = len(list(group))
        repeated = f' r="{count - 1}"' if count > 1 else ""
        yield f'<S t="{at}" d="{duration}"{repeated}/>'
        at += count * duration
