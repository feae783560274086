"""Settings of the transcoding worker."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from services.transcoder.encoding_settings import EncodingSettings
from services.transcoder.hls.encryption_policy import Encrypt
from services.transcoder.planning.profile import EncodingProfile
from services.transcoder.speech.whisper import WhisperOptions
from services.transcoder.storage.s3 import Storage
from shared.runtime.settings import DatabaseSettings, Settings

#: Relative to a media playlist, and so below the path that a player was given.
DEFAULT_KEY_URL = "../{key_id}.key"
#: More gain little on processors.
MAX_SPEECH_THREADS = 4


class BucketSettings(DatabaseSettings):
    """The database, and the bucket with uploads and lessons. Its keys are AWS_ACCESS_KEY_ID and its secret."""

    #: Empty for Amazon's own.
    s3_endpoint_url: str | None = None
    s3_bucket: str

    @property
    def storage(self) -> Storage:
        return Storage(self.s3_bucket, self.s3_endpoint_url or None)


class WorkerSettings(Settings, BucketSettings, EncodingSettings):
    """The transcoder's worker."""

    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    #: A task whose lease is not renewed for so long goes to another worker.
    transcoder_lease_seconds: float = Field(30.0, ge=1.0, le=600.0)
    #: After so many failed attempts of a task its job fails; faults of the servers do not count.
    transcoder_max_attempts: int = Field(8, ge=1)
    transcoder_retry_seconds: float = Field(2.0, gt=0)
    #: Seconds of the lesson in one message; they shape the names of a lesson's objects, so change them rarely.
    transcoder_chunk_seconds: int = Field(60, ge=6, le=120)
    #: Free space that has to be left beside an upload.
    transcoder_scratch_reserve_bytes: int = Field(1 << 30, ge=0)
    #: How long a lesson that was replaced can still be watched, and what nobody knows is kept.
    transcoder_orphan_ttl_hours: float = Field(7 * 24.0, ge=0)
    #: How long an upload may take before its pieces are removed.
    transcoder_upload_ttl_hours: float = Field(24.0, ge=0)
    #: How many days an upload is kept after its lesson is whole; 0 keeps it for good. Without it nobody can encode the
    #: lesson again.
    retention_uploads_days: int = Field(0, ge=0)
    #: Which lessons are encrypted (AES-128).
    transcoder_encrypt: Encrypt = Encrypt.NEVER
    #: Where players get a key, with {course_id} and {key_id}. The default is below a lesson's signed address, where
    #: `nouba playback serve` gives it; an address of the school's own leaves it to the school.
    transcoder_key_url: str = Field(DEFAULT_KEY_URL, pattern=r'^[^\s"]*$', validate_default=True)

    #: The folder of a Whisper model (CTranslate2's format); lessons get automatic captions with it.
    transcoder_captions_model: Path | None = None
    #: Languages that are spoken in lessons, comma-separated; of several, the likeliest is found in each lesson.
    transcoder_captions_languages: str = Field("ar,fr,en", pattern=r"^[a-z]{2,3}(,[a-z]{2,3})*$")
    #: The Python that has `nouba[captions]`, where it is not the worker's own.
    transcoder_captions_python: Path | None = None
    #: Private memory of the process that transcribes.
    transcoder_captions_memory_bytes: int = Field(4_000_000_000, ge=500_000_000)

    @field_validator("transcoder_captions_model", "transcoder_captions_python", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("transcoder_key_url")
    @classmethod
    def _says_where_keys_are(cls, url: str, known: ValidationInfo) -> str:
        named = url == DEFAULT_KEY_URL or (urlsplit(url).scheme in ("http", "https") and "{key_id}" in url)
        if known.data.get("transcoder_encrypt", Encrypt.NEVER) is not Encrypt.NEVER and not named:
            raise ValueError(
                "has to say where players get keys: https://school.example/courses/{course_id}/keys/{key_id}, or "
                f"{DEFAULT_KEY_URL} for `nouba playback serve`"
            )
        return url

    @property
    def whisper(self) -> WhisperOptions | None:
        """How lessons are transcribed; None where they are not."""
        if self.transcoder_captions_model is None:
            return None
        return WhisperOptions(
            model=self.transcoder_captions_model,
            languages=self.transcoder_captions_languages.split(","),
            python=self.transcoder_captions_python,
            threads=min(MAX_SPEECH_THREADS, self.transcoder_concurrency),
            memory_bytes=self.transcoder_captions_memory_bytes,
            confinement=self.sandbox,
        )

    @property
    def recipe(self) -> EncodingProfile:
        return replace(super().recipe, chunk_seconds=self.transcoder_chunk_seconds)
