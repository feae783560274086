"""Use case: the subtitle tracks of an upload as captions."""

from collections.abc import Callable
from pathlib import Path

from services.transcoder.errors import EncoderFailedError, RejectedInputError, WrongOutputError
from services.transcoder.ffmpeg import arguments
from services.transcoder.ffmpeg.process import Ffmpeg, never
from services.transcoder.ffmpeg.untrusted_outputs import SUBRIP, read_output
from services.transcoder.hls.captions import Captions
from services.transcoder.planning.source import Source
from shared.runtime.webvtt import CaptionsError, parse_captions, write_captions

#: As the API takes them.
MAX_CAPTIONS_BYTES = 2 * 1024 * 1024


def read_captions(
    source: Source, upload: Path, folder: Path, ffmpeg: Ffmpeg, cancelled: Callable[[], bool] = never
) -> tuple[Captions, ...]:
    """The captions that `upload` carries. A track that cannot be read is left out: a lesson can do without."""
    found = []
    for track in source.subtitles:
        name = f"captions{track.index}.srt"
        words = arguments.extract_subtitles(source, track, upload, name)
        try:
            ffmpeg.encode(words, folder, reads=[upload], cancelled=cancelled, file_bytes=MAX_CAPTIONS_BYTES)
            cues = parse_captions(read_output(folder / name, SUBRIP))
        except (RejectedInputError, EncoderFailedError, WrongOutputError, CaptionsError):
            continue
        finally:
            (folder / name).unlink(missing_ok=True)
        found.append(Captions(track.language, write_captions(cues)))
    return tuple(found)
