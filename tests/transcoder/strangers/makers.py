"""Makes the films of the corpus, each once: they are kept until their recipe or ffmpeg changes."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

from local.installers.system_package import SystemPackage, apt_script
from tests.transcoder import film_cache
from tests.transcoder.strangers.recipes import Recipe

_ROOT = Path(__file__).parents[3]
_GSTREAMER = ("gstreamer1.0-tools", *(f"gstreamer1.0-plugins-{kind}" for kind in ("base", "good", "bad", "ugly")))
#: The Debian packages of each program that is no other test's.
_PACKAGES = {
    "mkvmerge": ("mkvtoolnix",),
    "gst-launch-1.0": _GSTREAMER,
    "mencoder": ("mencoder",),
    "HandBrakeCLI": ("handbrake-cli",),
    "x264": ("x264",),
    "x265": ("x265",),
    "vpxenc": ("vpx-tools",),
    "SvtAv1EncApp": ("svt-av1",),
    "espeak-ng": ("espeak-ng",),
}


def film(recipe: Recipe) -> Path:
    """The film of `recipe`, made unless the cache has it."""
    base, first = (film(one) if one else None for one in (recipe.base, recipe.first))
    path = film_cache.folder_for(recipe.bytes) / f"{re.sub('[^a-z0-9]+', '_', recipe.name.lower())}.{recipe.ending}"
    if not path.exists():
        # several processes may make it at the same time: each has its own draft, and the last one stays
        draft = path.with_name(f"new_{os.getpid()}_{path.name}")
        for command in recipe.commands:
            require(command[0])
            words = [_named(word, {"{out}": draft, "{base}": base, "{base0}": first}) for word in command]
            subprocess.run(words, check=True, capture_output=True, timeout=120, cwd=_ROOT)
        draft.rename(path)
    return path


def _named(word: str, names: dict[str, Path | None]) -> str:
    for name, path in names.items():
        word = word.replace(name, str(path))
    return word


def require(program: str) -> None:
    """See that `program` is there. Installs its package if it is missing; raises NotInstalledError if it cannot."""
    packages = _PACKAGES.get(program)
    if packages is None or shutil.which(program):
        return
    by_hand = f"install it, for example with `sudo apt-get install {' '.join(packages)}`"
    package = SystemPackage(name=program, apt_script=apt_script(*packages), brew=packages, by_hand=by_hand)
    # one process installs, the others find it
    with (film_cache.folder_for(b"programs") / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shutil.which(program):
            package.install()
