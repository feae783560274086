"""Fetches hls.js, the player for browsers, from npm: one version, checked by its hash."""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from local.errors import NotInstalledError

VERSION = "1.7.4"
#: The package's bytes, as npm's registry names them.
_SHA512 = "3GlxGdPvT2YHvQYOt+yOzT/DEior/qJVNIylHA77kgeoBTdQQqi70GwefNEUmHQeNGyjC8U62+bruqW/Tpm+tg=="


def find_hls_js(folder: Path) -> Path:
    """The script, fetched into `folder` unless it is there.

    Raises NotInstalledError where npm does not have it for us.
    """
    script = folder / f"hls-{VERSION}.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = script.with_suffix(".draft")
        draft.write_bytes(_fetch())
        draft.replace(script)
    return script


def _fetch() -> bytes:
    npm = Path(sys.executable).with_name("npm")
    with tempfile.TemporaryDirectory(prefix="nouba-hls-") as folder:
        call = [str(npm), "pack", f"hls.js@{VERSION}", "--silent", "--pack-destination", folder]
        try:
            subprocess.run(call, check=True, capture_output=True, timeout=120, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotInstalledError(
                f"npm does not bring hls.js {VERSION}: connect this machine, and try again."
            ) from error
        package = Path(folder) / f"hls.js-{VERSION}.tgz"
        if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != _SHA512:
            raise NotInstalledError(f"npm brought another hls.js than version {VERSION}.")
        with tarfile.open(package) as archive:
            file = archive.extractfile("package/dist/hls.min.js")
            assert file
            return file.read()
