"""A response body kept in memory, plain and compressed, with its ETags and the check of If-None-Match.

Each coding is a representation of its own, so each has its own tag (RFC 9110, 8.8.3): `"<SHA-256>"` for the plain
bytes, `"<SHA-256>-gzip"` for the zipped ones. Both name one version, so either one in If-None-Match is answered 304;
what is not modified then is the representation that the reader named.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from services.stats.snapshots.compute import canonical

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """One version of what an address shows."""

    etag: str
    plain: bytes
    zipped: bytes
    media_type: str = "application/json"

    @property
    def size_bytes(self) -> int:
        """What it takes of memory."""
        return len(self.plain) + len(self.zipped)

    def tag(self, zipped: bool) -> str:
        """The entity tag of one representation, as a header has it."""
        return f'"{self.etag}-gzip"' if zipped else f'"{self.etag}"'


def json_document(value: dict[str, Any]) -> CachedResponse:
    """`value` as canonical JSON; the tag is its SHA-256."""
    return document(canonical(value), "application/json")


def document(body: bytes, media_type: str) -> CachedResponse:
    """The tag is the SHA-256 of `body`."""
    return CachedResponse(hashlib.sha256(body).hexdigest(), body, gzip.compress(body, 6, mtime=0), media_type)


def held(document: CachedResponse, if_none_match: str | None, prefers_gzip: bool) -> bool | None:
    """Which representation the reader holds already: True zipped, False plain, None neither.

    Tags are compared weakly, as If-None-Match asks for (RFC 9110, 13.1.2).
    """
    if if_none_match is None:
        return None
    if if_none_match.strip() == "*":
        return prefers_gzip
    tags = set(_TAG.findall(if_none_match))
    for zipped in (prefers_gzip, not prefers_gzip):
        if document.tag(zipped).strip('"') in tags:
            return zipped
    return None
