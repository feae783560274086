"""Prints the software bill of materials of an image as CycloneDX JSON: `python -m deploy.sbom gateway`.

From the pinned requirements alone, so it needs no network, and is the same for the same commit.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(requirements: str) -> list[dict[str, Any]]:
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


def document(service: str) -> dict[str, Any]:
    """The bill of materials of `service`."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": f"nouba-{service}"}},
        "components": components((REQUIREMENTS / f"{service}.txt").read_text()),
    }


if __name__ == "__main__":
    print(json.dumps(document(sys.argv[1]), indent=1))
