"""Checks whether a segment starts with an H.264 IDR picture, so that playback can start there. Pure."""

from collections.abc import Sequence

from services.transcoder.hls.mp4 import Fragment

_SLICE, _IDR_SLICE = 1, 5


def starts_with_idr(segment: bytes, fragments: Sequence[Fragment]) -> bool:
    """Whether the first picture of `segment` is an IDR picture; open groups start with one that is not.

    NAL units are preceded by lengths of four bytes, as every encoder of ours writes them.
    """
    if not fragments or not fragments[0].samples or not fragments[0].samples[0].key:
        return False
    at, end = fragments[0].data, fragments[0].data + fragments[0].samples[0].size
    while at + 5 <= end:
        kind = segment[at + 4] & 0x1F
        if kind in (_SLICE, _IDR_SLICE):
            return kind == _IDR_SLICE
        at += 4 + int.from_bytes(segment[at : at + 4], "big")
    return False
