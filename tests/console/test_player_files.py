"""The script of hls.js that pages load is the one that its authors published."""

import hashlib

from shared.player import FOLDER

#: `dist/hls.min.js` of the npm package hls.js 1.7.4.
SHA256 = "cfc70cc9e9fc63d071919e087670abc760c8fd1bc889b88588026e4d22193bbe"


def test_hls_js_is_unchanged() -> None:
    assert hashlib.sha256((FOLDER / "hls.min.js").read_bytes()).hexdigest() == SHA256
    assert "Apache License, Version 2.0" in (FOLDER / "hls.LICENSE").read_text()
