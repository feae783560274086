"""Installs checkov, which judges manifests of Kubernetes, in an environment of its own: 99 packages that nothing else
needs, pinned with their hashes in requirements/checkov.txt."""

import shutil
import subprocess
import sys
from pathlib import Path

from local.errors import NotInstalledError

PROJECT = Path(__file__).parents[2]
PLACE = PROJECT / ".nouba/checkov"


def find_program() -> Path:
    """The program checkov. Raises NotInstalledError where it cannot be downloaded."""
    done = PLACE / "installed"
    if not done.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(PLACE)])
        pinned = PROJECT / "requirements/checkov.txt"
        pip = [str(PLACE / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        _run([*pip, "--require-hashes", "--requirement", str(pinned)])
        done.touch()
    return PLACE / "bin/checkov"


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise NotInstalledError(f"checkov could not be installed: {result.stderr.strip().splitlines()[-1:]}")
