"""Classifies ffmpeg failures: bad input or local fault. Pure."""

import re
import signal

from services.transcoder.errors import EncoderFailedError, OutOfSpaceError, Reason, RejectedInputError, TranscoderError

DAMAGED = "The video is damaged or incomplete: export it again from the program that made it, and upload the new file."
UNREADABLE = "This file is not a video that we can read: upload an MP4, MOV, MKV, WebM or AVI file."
UNSUPPORTED = "The video uses a format that we do not support: export it as MP4 (H.264 and AAC)."
BARE_VIDEO = (
    "This file is bare video without a container: nothing in it says when each picture is shown, and it has no sound."
    " Export it as MP4 from the program that recorded it, or put it into an MKV file with its frame rate (MKVToolNix"
    " does that for H.264, H.265, MPEG-2 and AV1), and upload that."
)
TOO_LARGE = "The picture of this video is too large: export it with at most 8192 x 4320 pixels."

#: ffmpeg's demuxers of such files. It makes times up, 25 pictures a second, and none for reordered ones.
_BARE = "h26[1345]|hevc|vvc|evc|mpegvideo|m4v|vc1|obu|av1|mjpeg|dirac|cavsvideo|avs[23]|dnxhd"

_PERMANENT: tuple[tuple[str, Reason, str], ...] = (
    (r"moov atom not found|EBML header parsing failed|File ended prematurely|partial file", Reason.DAMAGED, DAMAGED),
    (r"Cannot allocate memory|bad_alloc|malloc.* failed|exceeds specified max pixel count|Picture size \S+ is invalid"
     r"|File too large", Reason.TOO_LARGE, TOO_LARGE),
    (rf"\[(?:{_BARE}) @ \w+\] Format not on whitelist", Reason.UNSUPPORTED, BARE_VIDEO),
    (r"not (on|in) whitelist|Format not on|blacklisted|[Uu]nsafe file name", Reason.NOT_A_VIDEO, UNREADABLE),
    (r"Decoder .* not found|[Uu]nknown decoder|no decoder|not (currently )?supported|Could not find codec parameters"
     r"|unspecified size|does not contain any stream|matches no streams", Reason.UNSUPPORTED, UNSUPPORTED),
    (r"Invalid data found|[Ee]rror while decoding|Error submitting|Decoding error|corrupt|[Ii]nvalid|End of file"
     r"|unknown timestamp|Cannot determine format", Reason.DAMAGED, DAMAGED),
)  # fmt: skip


def diagnose(status: int, errors: str) -> TranscoderError:
    """The error for an ffmpeg that ended with `status` and wrote `errors`."""
    if "No space left on device" in errors:
        return OutOfSpaceError()
    if status == -signal.SIGXFSZ:
        return RejectedInputError(Reason.TOO_LARGE, TOO_LARGE, "the output passed its size limit")
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        return EncoderFailedError(
            "ffmpeg was killed by the system: it ran out of its processor time, or the machine's memory."
        )
    for pattern, reason, sentence in _PERMANENT:
        if re.search(pattern, errors):
            return RejectedInputError(reason, sentence, errors[-2000:])
    return EncoderFailedError(f"ffmpeg ended with status {status}: {errors.strip()[-500:] or 'it said nothing'}")
