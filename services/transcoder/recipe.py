"""The choices that shape the bytes of a lesson: changing any makes another lesson of the same source. Pure."""

from dataclasses import dataclass

#: Raised with every change of commands or filters that changes bytes.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Part of each plan, so that every machine encodes its chunk alike."""

    #: x264's own word for quality against processor time.
    preset: str = "veryfast"
    #: Fixed, because x264 writes other bytes with another number of threads.
    encoder_threads: int = 2
    segment_seconds: int = 6
    groups_per_segment: int = 3
    #: No message carries more work than this.
    chunk_seconds: int = 60
    audio_kbps: int = 128
    version: int = VERSION
