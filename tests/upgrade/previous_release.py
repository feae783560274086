"""The code of the previous release, taken out of the history: whatever ran before the newest migration came."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

PROJECT = Path(__file__).parents[2]
VERSIONS = "shared/schema/migrations/versions"
#: The first migration of the release that is being made; RELEASING.md says when it changes.
FIRST_NEW_MIGRATION = "0049_erase_old_data.py"


def previous_release(folder: Path, first_new_migration: str = FIRST_NEW_MIGRATION) -> Path | None:
    """The packages as they were before `first_new_migration`; None where the history cannot be had.

    A shallow clone gets the history from where it was cloned.
    """
    if _git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true":
        _git("fetch", "--unshallow", "--quiet")
    found = _git("log", "--format=%H", "--diff-filter=A", "--", f"{VERSIONS}/{first_new_migration}")
    commits = found.stdout.decode().split()
    if found.returncode != 0 or not commits:
        return None
    archive = _git("archive", "--format=tar", f"{commits[-1]}^", "services", "shared")
    if archive.returncode != 0:
        return None
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, check=False)
