"""Fetches axe-core, which checks pages for accessibility, from npm: one version, checked by its hash."""

import os
from pathlib import Path

from local.installers.npm_package import fetch_file

ROOT = Path(__file__).parents[2]
VERSION = "4.14.1"
_SHA512 = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="


def find_axe(folder: Path = ROOT / ".nouba/axe") -> Path:
    """The script, fetched into `folder` unless it is there.

    Raises NotInstalledError where npm does not have it for us.
    """
    script = folder / f"axe-{VERSION}.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = script.with_suffix(f".{os.getpid()}.draft")
        draft.write_bytes(fetch_file("axe-core", VERSION, sha512=_SHA512, file="axe.min.js"))
        draft.replace(script)
    return script
