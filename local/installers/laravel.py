"""Finds PHP and Laravel for the tests of examples/laravel, else installs Debian's packages."""

import shutil
import subprocess
from pathlib import Path

from local.errors import NotInstalledError
from local.installers.system_package import SystemPackage, apt_script

PACKAGE = SystemPackage(
    name="Laravel",
    apt_script=apt_script("php-laravel-framework", "php-cli", "php-curl", "php-guzzlehttp-guzzle", "php-sqlite3"),
    # Homebrew has PHP, and Laravel comes from Composer
    brew=("php",),
    by_hand="install PHP with the framework, for example with `sudo apt-get install php-cli php-laravel-framework`",
)
_PROBE = """
$missing = array_filter(['curl', 'pdo_sqlite'], fn ($name) => !extension_loaded($name));
exit(!$missing && stream_resolve_include_path('Illuminate/Foundation/Application.php')
    && stream_resolve_include_path('GuzzleHttp/autoload.php') ? 0 : 1);
"""


def find_php() -> Path:
    """PHP that finds Laravel. Installs both if they are missing; raises NotInstalled where that is not possible."""
    found = _find()
    if found is None:
        PACKAGE.install()
        found = _find()
    if found is None:
        raise NotInstalledError(f"PHP does not find Laravel on its include path: {PACKAGE.by_hand}.")
    return found


def _find() -> Path | None:
    program = shutil.which("php")
    if program is None:
        return None
    found = subprocess.run([program, "-r", _PROBE], capture_output=True, check=False)
    return Path(program) if found.returncode == 0 else None
