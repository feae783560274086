"""The encoding profile: the choices that shape a lesson's bytes. Pure."""

from dataclasses import dataclass
from typing import Literal

#: Raised with every change of commands or filters that changes bytes.
VERSION = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingProfile:
    """Part of each plan, so that every machine encodes its chunk alike."""

    #: x264's own word for quality against processor time.
    preset: str = "veryfast"
    #: Of one rendition. With more, a rate ceiling makes x264's bytes depend on which thread is first: 12 encodes of one
    #: film with two threads gave 6 different files. Chunks and renditions are what keeps the cores busy.
    encoder_threads: int = 1
    segment_seconds: int = 6
    groups_per_segment: int = 3
    #: No message carries more work than this.
    chunk_seconds: int = 60
    #: A short lesson is cut finer, so that several workers can share it.
    least_chunk_seconds: int = 12
    wanted_chunks: int = 8
    audio_kbps: int = 128
    #: Integrated loudness (EBU R128) that all sound is levelled to; None leaves it as it was recorded.
    loudness_lufs: float | None = None
    #: None is the fixed ladder. `auto` measures samples of each lesson, and gives fewer bits at the same quality.
    ladder: Literal["auto"] | None = None
    #: What the measure added to x264's constant rate factor of every rendition.
    crf_offset: int | None = None
    version: int = VERSION
