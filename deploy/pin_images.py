"""Pins the images that compose and the Dockerfiles name: `python3 -m deploy.pin_images` moves each to its tag's digest.

A tag is a name that its owner may move; a digest is the hash of what is run. The digest is that of the bytes that the
registry sent, computed here, and not only what its header says. Standard library alone, no container engine.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

PROJECT: Final = Path(__file__).parents[1]
DOCKER_HUB: Final = "https://registry-1.docker.io"
TIMEOUT_SECONDS: Final = 20
#: An index of platforms is a few KiB; what is larger is none.
LARGEST_BYTES: Final = 4 * 1024 * 1024
# the index of all platforms first: its digest serves every machine
_ACCEPT: Final = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
)
_IMAGE: Final = re.compile(
    r"^(?P<head>\s*(?:image:|FROM)\s+)(?P<name>[a-z0-9][a-z0-9./_-]*):(?P<tag>[\w.-]+)(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.MULTILINE,
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


class PinError(Exception):
    """An image that cannot be pinned; the message says why."""


def files(project: Path = PROJECT) -> list[Path]:
    """Compose's files, and every Dockerfile."""
    return [
        project / "docker-compose.yml",
        *sorted(project.glob("deploy/*/docker-compose.yml")),
        *sorted(project.glob("services/*/Dockerfile")),
        *sorted(project.glob("deploy/*/Dockerfile")),
    ]


def images(text: str) -> Iterator[tuple[str, str, str | None]]:
    """(name, tag, digest) of each image of somebody else's that `text` names."""
    for found in _IMAGE.finditer(text):
        if not found["name"].startswith("nouba-"):
            yield found["name"], found["tag"], found["digest"]


def digest_of(name: str, tag: str, registry: str = DOCKER_HUB) -> str:
    """The digest that the registry has for the tag now. Raises PinError where it has none, or another than it sent."""
    path = name if "/" in name else f"library/{name}"
    url = f"{registry}/v2/{path}/manifests/{tag}"
    try:
        try:
            body, claimed = _fetch(url, {"Accept": _ACCEPT})
        except HTTPError as error:
            if error.code != 401:
                raise
            token = _token(error.headers.get("WWW-Authenticate", ""))
            body, claimed = _fetch(url, {"Accept": _ACCEPT, "Authorization": f"Bearer {token}"})
    except (OSError, HTTPException, ValueError) as error:
        raise PinError(
            f"{name}:{tag}: {url.partition('/v2/')[0]} does not answer ({error}); nothing is changed"
        ) from None
    computed = f"sha256:{hashlib.sha256(body).hexdigest()}"
    if claimed != computed:
        raise PinError(f"{name}:{tag}: the registry says {claimed}, and sent {computed}; nothing is changed")
    return computed


def pin(text: str, digests: Mapping[tuple[str, str], str]) -> str:
    """`text` with each image at its digest."""

    def write(found: re.Match[str]) -> str:
        digest = digests.get((found["name"], found["tag"]))
        return f"{found['head']}{found['name']}:{found['tag']}@{digest}" if digest else found[0]

    return _IMAGE.sub(write, text)


def main(arguments: list[str] | None = None) -> int:
    """Move every image, or with `--check` say which are not at their tag's digest."""
    parser = argparse.ArgumentParser(prog="bin/pin-images", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where an image would move")
    parser.add_argument("--registry", default=DOCKER_HUB, help="a mirror of Docker Hub (default: %(default)s)")
    parser.add_argument("--project", type=Path, default=PROJECT, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    texts = {path: path.read_text() for path in files(given.project)}
    wanted = sorted({(name, tag) for text in texts.values() for name, tag, _ in images(text)})
    try:
        digests = {image: digest_of(*image, registry=given.registry) for image in wanted}
    except PinError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    moved = {path: new for path, text in texts.items() if (new := pin(text, digests)) != text}
    for name, tag in wanted:
        print(f"{name}:{tag} {digests[name, tag]}")
    for path, text in moved.items():
        print(f"{path.relative_to(given.project)}: {'would move' if given.check else 'moved'}")
        if not given.check:
            path.write_text(text)
    return 1 if given.check and moved else 0


def _fetch(url: str, headers: Mapping[str, str]) -> tuple[bytes, str]:
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url[:60]!r} is no address of a registry")
    with urlopen(Request(url, headers=dict(headers)), timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        body = answer.read(LARGEST_BYTES + 1)
        if len(body) > LARGEST_BYTES:
            raise ValueError("the answer is too large")
        return body, answer.headers.get("Docker-Content-Digest", "")


def _token(challenge: str) -> str:
    """A token for anybody, from where the registry's challenge says."""
    where = dict(_CHALLENGE.findall(challenge))
    query = urlencode({name: where[name] for name in ("service", "scope") if name in where})
    body, _ = _fetch(f"{where.get('realm', '')}?{query}", {})
    found = json.loads(body)
    return str(found.get("token") or found.get("access_token"))


if __name__ == "__main__":
    raise SystemExit(main())
