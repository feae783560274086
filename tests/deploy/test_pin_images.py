"""`bin/pin-images` moves tags to the digests of what a registry sends, asked over HTTP."""

import contextlib
import hashlib
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from deploy import pin_images

PROJECT = Path(__file__).parents[2]


class Registry(BaseHTTPRequestHandler):
    """A registry that gives tokens to anybody, as Docker Hub does."""

    index: ClassVar[bytes] = b'{"manifests": ["first"]}'
    lie: ClassVar[str | None] = None

    def do_GET(self) -> None:
        host = f"http://{self.headers['Host']}"
        if self.path.startswith("/token?"):
            assert "scope=repository" in self.path
            return self._answer(200, json.dumps({"token": "for-anybody"}).encode())
        if self.headers.get("Authorization") != "Bearer for-anybody":
            challenge = f'Bearer realm="{host}/token",service="registry",scope="repository:x:pull"'
            return self._answer(401, b"{}", {"WWW-Authenticate": challenge})
        if "/absent/" in self.path:
            return self._answer(404, b"{}")
        digest = self.lie or f"sha256:{hashlib.sha256(self.index + self.path.encode()).hexdigest()}"
        return self._answer(200, self.index + self.path.encode(), {"Docker-Content-Digest": digest})

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing on the screen."""

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Registry, "lie", None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in pin_images.files():
        copy = tmp_path / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    return tmp_path


def run(project: Path, registry: str, *more: str) -> int:
    return pin_images.main(["--project", str(project), "--registry", registry, *more])


def test_every_image_is_moved_to_its_digest_and_moves_again_with_its_tag(
    registry: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_text() for path in pin_images.files(project)}
    assert run(project, registry, "--check") == 1
    assert {path: path.read_text() for path in pin_images.files(project)} == before

    assert run(project, registry) == 0
    assert run(project, registry, "--check") == 0
    texts = {path: path.read_text() for path in pin_images.files(project)}
    pinned = [image for text in texts.values() for image in pin_images.images(text)]
    assert len(pinned) > 10
    assert all(digest for _, _, digest in pinned)
    # only the digests are new: tags stay for people, and what is built here has none
    assert {path: re.sub("@sha256:[0-9a-f]{64}", "", text) for path, text in texts.items()} == {
        path: re.sub("@sha256:[0-9a-f]{64}", "", text) for path, text in before.items()
    }

    monkeypatch.setattr(Registry, "index", b'{"manifests": ["second"]}')
    assert run(project, registry, "--check") == 1
    assert run(project, registry) == 0
    assert all(path.read_text() != text for path, text in texts.items())


def test_a_registry_that_lies_is_away_or_has_no_such_tag_changes_nothing(
    registry: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_text() for path in pin_images.files(project)}
    monkeypatch.setattr(Registry, "lie", "sha256:" + "0" * 64)
    assert run(project, registry) == 1
    assert "the registry says sha256:000" in capsys.readouterr().err
    assert run(project, "http://127.0.0.1:1") == 1
    assert "does not answer" in capsys.readouterr().err
    monkeypatch.setattr(Registry, "lie", None)
    compose = project / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("image: postgres:17", "image: absent/postgres:17"))
    before[compose] = compose.read_text()
    assert run(project, registry) == 1
    assert "404" in capsys.readouterr().err
    assert {path: path.read_text() for path in pin_images.files(project)} == before


def test_every_file_that_names_an_image_is_pinned_and_every_image_in_it() -> None:
    # Given all files of the repository that name an image of somebody else's
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    named: dict[Path, list[str]] = {}
    for path in (PROJECT / name for name in listed.splitlines()):
        if path.name in ("Dockerfile", "docker-compose.yml", "compose.yaml"):
            lines = re.findall(r"^\s*(?:image:|FROM)\s+(\S+)", path.read_text(), re.MULTILINE)
            named[path] = [line for line in lines if not line.strip("\"'").startswith("nouba-")]

    # Then the command knows each of them
    assert set(pin_images.files()) == set(named)
    for path, lines in named.items():
        assert [f"{name}:{tag}" for name, tag, _ in pin_images.images(path.read_text())] == lines, path


def test_a_registry_that_breaks_off_changes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a registry that closes each connection
    with socket.create_server(("127.0.0.1", 0)) as server:

        def close() -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.accept()[0].close()

        Thread(target=close, daemon=True).start()
        assert run(project, f"http://127.0.0.1:{server.getsockname()[1]}") == 1
    assert "does not answer" in capsys.readouterr().err


def test_the_command_says_what_it_does() -> None:
    shown = subprocess.run([PROJECT / "bin/pin-images", "--help"], capture_output=True, text=True, check=True)
    assert "--check" in shown.stdout
