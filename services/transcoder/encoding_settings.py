"""Settings of encoding (ffmpeg, sandbox, preset, loudness, concurrency); none needs a server."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.transcoder.ffmpeg.sandbox import Confinement
from services.transcoder.planning.profile import EncodingProfile


class EncodingSettings(BaseSettings):
    """Which ffmpeg, how much of the machine, and where scratch space is."""

    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    #: `required` refuses to run ffmpeg on a kernel that cannot confine it; `available` confines as far as it can.
    sandbox: Confinement = Confinement.REQUIRED
    #: Where work happens before it is published; the system's temporary folder unless set.
    transcoder_scratch_dir: Path | None = None
    #: Private memory of one ffmpeg.
    ffmpeg_memory_bytes: int = Field(1_200_000_000, ge=100_000_000)
    #: Quality against processor time (x264's own words).
    transcoder_preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "veryfast"
    #: Loudness that the sound of lessons is levelled to (LUFS, EBU R128), or `off`.
    transcoder_loudness: Literal["off"] | Annotated[float, Field(ge=-31, le=-10)] = -16.0
    #: `fixed` encodes every lesson alike; `auto` measures samples of each, and saves bits where nobody sees it.
    transcoder_ladder: Literal["fixed", "auto"] = "fixed"
    #: Tasks at once, by a worker and by `nouba transcoder run`. Each is one ffmpeg with about one processor.
    transcoder_concurrency: int = Field(default_factory=lambda: min(64, os.cpu_count() or 1), ge=1, le=64)

    @property
    def recipe(self) -> EncodingProfile:
        """How lessons are encoded."""
        loudness = None if self.transcoder_loudness == "off" else self.transcoder_loudness
        ladder: Literal["auto"] | None = "auto" if self.transcoder_ladder == "auto" else None
        return EncodingProfile(preset=self.transcoder_preset, loudness_lufs=loudness, ladder=ladder)
