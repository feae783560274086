"""The facts of a source: duration, video, audio tracks. Pure."""

from dataclasses import dataclass
from fractions import Fraction

#: Sound that breaks more often than once in so long was recorded with a rough clock; other breaks are cuts.
JITTER_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """The picture track. Times are seconds after the start of the file; sizes are what a viewer should see."""

    index: int
    codec: str
    profile: str
    #: After rotation, and with square pixels.
    width: int
    height: int
    rotation: int
    square_pixels: bool
    pixel_format: str
    full_range: bool
    #: ffmpeg's words, "" where the file does not say.
    matrix: str
    transfer: str
    primaries: str
    #: `tt` or `bb` (which field comes first), None for progressive pictures.
    fields: str | None
    #: Pictures a second; of a variable rate, the rate that shows each picture.
    rate: Fraction
    variable: bool
    #: Packets counted, not what a header claims.
    frames: int
    first_seconds: float
    end_seconds: float
    longest_key_interval_seconds: float
    #: Where no new picture comes for a while: the picture to show there has to be decoded before.
    holes: tuple[tuple[float, float], ...]
    bits_per_second: int
    #: How much later its frames are shown on the grid of the lesson; sound follows them.
    #: None in plans of version 3.
    grid_shift_seconds: float | None = None
    #: Whether frames are stored in another order than they are shown in.
    reordered: bool = False

    @property
    def hdr(self) -> bool:
        """Whether the picture has to be tone-mapped for ordinary screens."""
        return self.transfer in ("smpte2084", "arib-std-b67")

    @property
    def short_side(self) -> int:
        return min(self.width, self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """One sound track. `language` is a BCP 47 tag, `und` where the file does not say."""

    index: int
    codec: str
    profile: str
    channels: int
    sample_rate: int
    language: str
    title: str
    default: bool
    first_seconds: float
    end_seconds: float
    bits_per_second: int
    #: How often a packet does not begin where the one before it ended.
    breaks: int = 0
    #: Its stream in the upload, where the upload was rewrapped.
    upload_index: int | None = None

    @property
    def jitters(self) -> bool:
        """Whether its times are too rough for each to be taken at its word."""
        return self.breaks > 1 + (self.end_seconds - self.first_seconds) / JITTER_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtitles:
    """One subtitle track that is text. `index` is its stream in the upload."""

    index: int
    language: str
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Where a part of a lesson begins, and what it is called."""

    start_seconds: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonWarning:
    """What is not as it should be in a lesson that can be watched. `text` is for the teacher, `code` for programs."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that passed every check: it has a picture, or sound, or both."""

    #: The name of ffmpeg's demuxer.
    container: str
    size_bytes: int
    video: Video | None
    audio: tuple[Audio, ...]
    warnings: tuple[LessonWarning, ...] = ()
    #: The upload's container, where it was rewrapped.
    upload_container: str = ""
    #: At most one of each language.
    subtitles: tuple[Subtitles, ...] = ()
    chapters: tuple[Chapter, ...] = ()

    @property
    def duration_seconds(self) -> float:
        """When the last track ends."""
        ends = [track.end_seconds for track in self.audio]
        return max([*ends, self.video.end_seconds] if self.video else ends)

    @property
    def seekable(self) -> bool:
        """Whether ffmpeg finds a time in it exactly; others are put into a Matroska file before they are cut."""
        return self.container in ("mov", "matroska")

    @property
    def jumps(self) -> bool:
        """Whether its clock may jump. ffmpeg moves each track of such a file to its own start if it reads it alone."""
        return self.container in ("mpegts", "mpeg", "ogg", "flv")
