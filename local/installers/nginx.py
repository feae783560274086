"""Finds nginx with njs by setting or on PATH, else installs the system's package."""

import os
import shutil
from pathlib import Path

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, stopped_apt_script

_USUAL_PLACES = ("/usr/sbin/nginx", "/opt/homebrew/bin/nginx", "/usr/local/bin/nginx")
_MODULES = (
    "/usr/lib/nginx/modules/ngx_http_js_module.so",
    "/usr/share/nginx/modules/ngx_http_js_module.so",
    "/opt/homebrew/lib/nginx/modules/ngx_http_js_module.so",
)

PACKAGE = SystemPackage(
    name="nginx",
    # the package would start a server on port 80 at once
    apt_script=stopped_apt_script("nginx", "libnginx-mod-http-js"),
    brew=("nginx",),
    by_hand="install it with its module njs, for example with `sudo apt-get install nginx libnginx-mod-http-js`",
)


def find_program() -> tuple[Path, Path]:
    """nginx and its module njs. Installs them if they are missing; raises NotInstalled where that is not possible."""
    found = _find()
    if found is None:
        PACKAGE.install()
        found = _find()
    if found is None:
        raise NotInstalledError("nginx was installed, but it or njs is not where it is expected.")
    return found


def _find() -> tuple[Path, Path] | None:
    named = os.environ.get("NOUBA_LOCAL_NGINX_BIN") or shutil.which("nginx")
    program = next((Path(place) for place in (named, *_USUAL_PLACES) if place and Path(place).exists()), None)
    module = next((Path(place) for place in _MODULES if Path(place).exists()), None)
    return (program, module) if program and module else None
