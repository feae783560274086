"""Parses the console's credentials (`name:token`) from the settings, and finds the one that a token belongs to."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

#: Shorter tokens can be guessed.
MIN_TOKEN_BYTES = 16
_NAME = re.compile(r"[\w .@+-]{1,64}")
_HASH = re.compile(r"sha256=([0-9a-f]{64})")


class Role(StrEnum):
    """What a visitor may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Credential:
    """A token that was given to one person, as its SHA-256."""

    name: str
    role: Role
    digest: bytes

    @property
    def id(self) -> str:
        """What the audit keeps. Slow to make, so that nobody guesses a token by it."""
        return _id_of(self.digest)


# each page asks for it
@lru_cache(maxsize=1000)
def _id_of(digest: bytes) -> str:
    return hashlib.scrypt(digest, salt=b"nouba console credential", n=2**14, r=8, p=1, dklen=6).hex()


def parse_credentials(setting: str, role: Role) -> tuple[Credential, ...]:
    """The credentials of a comma-separated setting. Raises ValueError, which never repeats a token.

    An entry is `name:token`, or a token alone, which several people may share and which is named by its role. In place
    of a token an entry may hold its digest, `sha256=` and 64 hex digits.
    """
    entries = [entry.strip() for entry in setting.split(",") if entry.strip()]
    found = [_parse(entry, number, role) for number, entry in enumerate(entries, 1)]
    for name in (credential.name for credential in found):
        if sum(credential.name == name for credential in found) > 1:
            raise ValueError(f"names two credentials {name!r}; give each person one")
    return tuple(found)


def _parse(entry: str, number: int, role: Role) -> Credential:
    name, colon, token = entry.rpartition(":")
    name = " ".join(name.split()) if colon else f"{role}" if number == 1 else f"{role}-{number}"
    if not _NAME.fullmatch(name):
        raise ValueError(f"entry {number} has to be name:token; a name has letters, digits, spaces and .@+-_")
    if hashed := _HASH.fullmatch(token):
        return Credential(name, role, bytes.fromhex(hashed[1]))
    if len(token.encode()) < MIN_TOKEN_BYTES or token.startswith("sha256="):
        raise ValueError(f"has to be tokens of at least {MIN_TOKEN_BYTES} bytes, such as `openssl rand -hex 32`")
    return Credential(name, role, hashlib.sha256(token.encode()).digest())


def match(token: str, credentials: Sequence[Credential]) -> Credential | None:
    """The credential of `token`. Every one is compared, in constant time."""
    digest = hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
    found = [credential for credential in credentials if hmac.compare_digest(digest, credential.digest)]
    return found[0] if found else None
