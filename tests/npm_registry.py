"""A registry of npm on this machine with one package, for the programs that ask it."""

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Request, Response
from werkzeug.serving import make_server


@dataclass
class Registry:
    """What the registry answers; `asked` are the paths that it was asked for."""

    name: str
    version: str
    archive: bytes
    #: None is a mirror that keeps no advisories.
    advisories: list[dict[str, Any]] | None = None
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        if request.path == "/-/npm/v1/security/advisories/bulk":
            if self.advisories is None:
                return Response(status=405)
            return self._json({self.name: self.advisories} if self.advisories else {})
        if request.path == f"/{self.name}":
            dist = {"tarball": f"{self.url}/archive.tgz", "integrity": f"sha512-{sha512(self.archive)}"}
            version = {"name": self.name, "version": self.version, "dist": dist}
            return self._json(
                {"name": self.name, "dist-tags": {"latest": self.version}, "versions": {self.version: version}}
            )
        return Response(self.archive) if request.path == "/archive.tgz" else Response(status=404)

    def _json(self, value: object) -> Response:
        return Response(json.dumps(value), mimetype="application/json")


@contextmanager
def serve(registry: Registry) -> Iterator[None]:
    """The registry answers while this is open."""
    server = make_server("127.0.0.1", 0, Request.application(registry.answer), threaded=True)
    registry.url = f"http://127.0.0.1:{server.port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pack(files: dict[str, bytes]) -> bytes:
    """A package of npm."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def sha512(content: bytes) -> str:
    """The hash as npm writes it."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode()
