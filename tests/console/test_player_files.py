"""The script of hls.js that pages load is the one that its authors published."""

import hashlib
import json

import pytest

from deploy.sbom import JAVASCRIPT_LOCK
from local.installers.npm_package import fetch_file
from shared.player import FOLDER

#: `dist/hls.min.js` of the npm package hls.js, in the version that requirements/javascript locks.
SHA256 = "cfc70cc9e9fc63d071919e087670abc760c8fd1bc889b88588026e4d22193bbe"


def test_hls_js_is_unchanged() -> None:
    assert hashlib.sha256((FOLDER / "hls.min.js").read_bytes()).hexdigest() == SHA256
    assert "Apache License, Version 2.0" in (FOLDER / "hls.LICENSE").read_text()


@pytest.mark.slow
def test_the_locked_package_has_the_same_script() -> None:
    locked = json.loads(JAVASCRIPT_LOCK.read_text())["packages"]["node_modules/hls.js"]
    sha512 = locked["integrity"].removeprefix("sha512-")

    script = fetch_file("hls.js", locked["version"], sha512=sha512, file="dist/hls.min.js")

    assert script == (FOLDER / "hls.min.js").read_bytes()
