"""Signed playback addresses: signs the path that a player follows, and verifies it.

A path is `/play/<grant>/<course id>/<content key>/<file>`, and a grant is `<expires>.<viewer>.<bound>.<signature>`.
Playlists name their files relatively, so each request of a player carries the grant, and no cookie is needed. The
signature covers one lesson of one course, the viewer, the end and, where the grant is bound to one, the viewer's IP
address. `deploy/nginx/playback.js` verifies the same signature.
"""

import hashlib
import hmac
import ipaddress
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, SecretStr

#: Shorter secrets can be guessed. `openssl rand -hex 32` makes one of 64.
MIN_SECRET_BYTES = 32
MAX_VIEWER_BYTES = 96
#: How the viewer of an address of the console's begins: an operator checks a lesson, and counts as nobody who watched.
CONSOLE_VIEWER = "console "

#: Only names that the transcoder gives: no dot begins one, so no path leaves its lesson.
_NAME = r"[0-9A-Za-z_-]{1,128}"
_PATH = re.compile(
    rf"/play/(?P<grant>[0-9A-Za-z_.-]{{1,256}})/(?P<course>0|[1-9][0-9]{{0,18}})/(?P<content>{_NAME})"
    rf"/(?P<file>(?:{_NAME}/){{0,3}}{_NAME}\.(?:m3u8|m4s|mp4|jpg|vtt|json|mpd|key))"
)
_GRANT = re.compile(
    r"(?P<expires>[0-9]{1,12})\.(?P<viewer>[0-9A-Za-z_-]{2,128})\.(?P<bound>[01])\.(?P<signature>[0-9A-Za-z_-]{43})"
)
_MASTER = re.compile(
    rf"hls/(?P<course>0|[1-9][0-9]{{0,18}})/(?P<content>{_NAME})/(?P<file>(?:first/)?master(?:-[0-9a-f]{{16}})?\.m3u8)"
)


class PlaybackLinkError(Exception):
    """The path does not allow what it names."""


class MalformedPathError(PlaybackLinkError):
    """The path has not the form of a playback address."""

    def __init__(self) -> None:
        super().__init__("This is no playback address; ask GET /api/v1/courses/<id>/playback for one.")


class ForgedGrantError(PlaybackLinkError):
    """No secret of ours signed the grant for this lesson and this viewer's address."""

    def __init__(self) -> None:
        super().__init__("The signature is not valid for this lesson; ask for a new address.")


class ExpiredGrantError(PlaybackLinkError):
    """The grant was ours, and its time is over."""

    def __init__(self) -> None:
        super().__init__("The address has expired; ask for a new one.")


@dataclass(frozen=True, slots=True)
class PlaybackPath:
    """A path, taken apart; nothing of it is proven."""

    grant: str
    course_id: int
    content_key: str
    file: str

    @property
    def object_key(self) -> str:
        """The object in the bucket."""
        return f"hls/{self.course_id}/{self.content_key}/{self.file}"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a genuine, unexpired grant says."""

    viewer: str
    expires: int


def _long_enough(secrets: SecretStr) -> SecretStr:
    if any(len(secret) < MIN_SECRET_BYTES for secret in split_secrets(secrets)):
        raise ValueError(
            f"has to be secrets of at least {MIN_SECRET_BYTES} bytes, separated by commas: `openssl rand -hex 32`"
        )
    return secrets


#: Comma-separated: the first one signs, each of them verifies.
PlaybackSecrets = Annotated[SecretStr, AfterValidator(_long_enough)]


def split_secrets(secrets: SecretStr) -> tuple[bytes, ...]:
    """The secrets of the setting, in its order."""
    return tuple(secret.strip().encode() for secret in secrets.get_secret_value().split(",") if secret.strip())


def normalise_address(address: str) -> str:
    """One form of an IP address, as nginx writes it. Raises ValueError where it is none."""
    if "%" in address:
        # Python takes any text as the zone of an IPv6 address, a line break too
        raise ValueError("an address with a zone is one of this machine's links alone")
    found = ipaddress.ip_address(address)
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def sign_path(master_key: str, secret: bytes, viewer: str, expires: int, address: str | None = None) -> str:
    """The path of the master playlist `master_key`, for `viewer` until `expires`. Raises ValueError for another key."""
    found = _MASTER.fullmatch(master_key)
    if found is None:
        raise ValueError(f"{master_key!r} is no master playlist of a lesson")
    course_id, content_key = int(found["course"]), found["content"]
    name = urlsafe_b64encode(viewer.encode()).decode().rstrip("=")
    signature = _signature(secret, str(expires), name, address, course_id, content_key)
    grant = f"{expires}.{name}.{0 if address is None else 1}.{signature}"
    return f"/play/{grant}/{course_id}/{content_key}/{found['file']}"


def parse_path(path: str) -> PlaybackPath:
    """Take a path apart. Raises MalformedPathError."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise MalformedPathError
    return PlaybackPath(found["grant"], int(found["course"]), found["content"], found["file"])


def verify(path: PlaybackPath, secrets: Sequence[bytes], now: float, address: str) -> Grant:
    """What the grant of `path` allows to a viewer at `address`. Raises ForgedGrantError or ExpiredGrantError."""
    found = _GRANT.fullmatch(path.grant)
    if found is None:
        raise ForgedGrantError
    bound = address if found["bound"] == "1" else None
    parts = found["expires"], found["viewer"], bound, path.course_id, path.content_key
    # every secret is tried, so that the time does not show which one was nearly right
    matches = [hmac.compare_digest(found["signature"], _signature(secret, *parts)) for secret in secrets]
    if not any(matches):
        raise ForgedGrantError
    if int(found["expires"]) <= now:
        raise ExpiredGrantError
    viewer = urlsafe_b64decode(found["viewer"] + "=" * (-len(found["viewer"]) % 4)).decode()
    return Grant(viewer, int(found["expires"]))


def _signature(secret: bytes, expires: str, viewer: str, address: str | None, course_id: int, content_key: str) -> str:
    signed = "\n".join(["nouba playback 1", expires, viewer, address or "-", str(course_id), content_key])
    digest = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return urlsafe_b64encode(digest).decode().rstrip("=")
