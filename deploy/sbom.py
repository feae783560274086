"""Prints the software bill of materials of an image as CycloneDX JSON: `python -m deploy.sbom gateway`.

From the pinned requirements alone, so it needs no network, and is the same for the same commit. Packages of Debian are
not in it: their versions are those of the day on which an image is built.
"""

import hashlib
import json
import re
import sys
import tomllib
from base64 import b64decode
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
REQUIREMENTS: Final = ROOT / "requirements"
#: The lock of npm for JavaScript that the repository has a copy of, and the files that each package is copied to. Every
#: image has `shared`. A package without files is needed by another one's installation alone.
JAVASCRIPT_LOCK: Final = REQUIREMENTS / "javascript" / "package-lock.json"
JAVASCRIPT_FILES: Final = {
    "hls.js": ["shared/player/hls.min.js"],
    "swagger-ui-dist": ["shared/api_reference/swagger-ui-bundle.js", "shared/api_reference/swagger-ui.css"],
}
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def python_components(requirements: str) -> list[dict[str, Any]]:
    """A component for each pinned package, with the hashes of the files that may be installed."""
    found: list[dict[str, Any]] = []
    for line in requirements.splitlines():
        if pin := _PIN.match(line):
            name, version = re.sub(r"[-_.]+", "-", pin[1]).lower(), pin[2]
            purl = f"pkg:pypi/{name}@{version}"
            found.append({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
        if (hashed := _HASH.search(line)) and found:
            found[-1].setdefault("hashes", []).append({"alg": "SHA-256", "content": hashed[1]})
    return found


def javascript_components() -> list[dict[str, Any]]:
    """A component for each package of npm, with the package's hash, and those of the files that the image has of it."""
    found = []
    for place, package in json.loads(JAVASCRIPT_LOCK.read_text())["packages"].items():
        name = place.removeprefix("node_modules/")
        if name not in JAVASCRIPT_FILES:
            continue
        purl = f"pkg:npm/{name}@{package['version']}"
        integrity = b64decode(package["integrity"].removeprefix("sha512-")).hex()
        found.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": package["version"],
                "purl": purl,
                "licenses": [{"license": {"id": package["license"]}}],
                "hashes": [{"alg": "SHA-512", "content": integrity}],
                "components": [_file(file) for file in JAVASCRIPT_FILES[name]],
            }
        )
    return found


def _file(path: str) -> dict[str, Any]:
    content = hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
    return {"type": "file", "name": path, "hashes": [{"alg": "SHA-256", "content": content}]}


def document(service: str) -> dict[str, Any]:
    """The bill of materials of `service`."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    packages = python_components((REQUIREMENTS / f"{service}.txt").read_text())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": f"nouba-{service}", "version": version}},
        "components": [*packages, *javascript_components()],
    }


if __name__ == "__main__":
    print(json.dumps(document(sys.argv[1]), indent=1))
