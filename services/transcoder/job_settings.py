"""What the transcoder is told by its environment about the servers it works with."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.transcoder.settings import EncodingSettings
from services.transcoder.storage import Storage
from shared.runtime.settings import DatabaseSettings, Settings


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

    #: A worker that is silent for so long is taken for dead, and its part is given to another.
    lease_seconds: float = Field(30.0, ge=1.0, le=600.0)
    #: After so many faults that are not the surroundings', the job fails.
    part_attempts: int = Field(8, ge=1)
    part_backoff_seconds: float = Field(2.0, gt=0)
    #: Seconds of the lesson in one message; they shape the names of a lesson's objects, so change them rarely.
    chunk_seconds: int = Field(60, ge=6, le=120)
    #: Free space that has to be left beside an upload.
    scratch_reserve_bytes: int = Field(1 << 30, ge=0)
    #: How long a lesson that was replaced can still be watched, and what nobody knows is kept.
    orphan_hours: float = Field(7 * 24.0, ge=0)
    #: How long an upload may take before its pieces are removed.
    upload_hours: float = Field(24.0, ge=0)
