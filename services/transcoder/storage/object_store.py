"""The object store that the use cases need."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object as S3 has it."""

    size_bytes: int
    etag: str
    modified_at: datetime


class ObjectStore(Protocol):
    """One bucket. Raises NoSuchObjectError, or ObjectStoreUnavailableError where trying again may help."""

    def head(self, key: str) -> ObjectInfo:
        """What is known of an object."""
        ...

    def download(self, key: str, etag: str, size_bytes: int, path: Path, cancelled: Callable[[], bool]) -> None:
        """Fetch an object to `path`, as long as its bytes are those that `etag` names."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes of a small object as they were put."""
        ...

    def put(self, key: str, data: bytes) -> int:
        """Keep `data` under an immutable name; the number of bytes that S3 has now (text is compressed)."""
        ...

    def list(self, prefix: str) -> dict[str, ObjectInfo]:
        """All objects whose key begins with `prefix`."""
        ...
