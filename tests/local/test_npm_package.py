"""A package of npm is fetched once, kept by its hash, and compared with it whenever it is read."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.errors import NotInstalledError
from local.installers.npm_package import fetch_file
from tests.npm_registry import Registry, pack, serve, sha512

NAME, VERSION = "nouba-of-tests", "1.2.3"
SCRIPT = b"play()"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    manifest = json.dumps({"name": NAME, "version": VERSION}).encode()
    registry = Registry(NAME, VERSION, pack({"package.json": manifest, "dist/script.js": SCRIPT}))
    with serve(registry):
        monkeypatch.setenv("npm_config_registry", registry.url)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
        yield registry


def test_a_package_is_fetched_once_and_again_when_what_is_kept_is_another(registry: Registry, tmp_path: Path) -> None:
    cache, wanted = tmp_path / "kept", sha512(registry.archive)

    def fetch() -> bytes:
        return fetch_file(NAME, VERSION, sha512=wanted, file="dist/script.js", cache=cache)

    # When it is read twice, then the registry is asked once
    assert fetch() == SCRIPT
    registry.asked.clear()
    assert fetch() == SCRIPT
    assert registry.asked == []

    # And when what is kept was changed, then it is not believed
    (kept,) = cache.iterdir()
    kept.write_bytes(pack({"dist/script.js": b"steal()"}))
    assert fetch() == SCRIPT
    assert registry.asked


def test_another_package_than_the_named_one_is_refused_and_not_kept(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError, match=f"another {NAME} than version"):
        fetch_file(NAME, VERSION, sha512=sha512(b"other"), file="dist/script.js", cache=tmp_path / "kept")

    assert list((tmp_path / "kept").iterdir()) == []
