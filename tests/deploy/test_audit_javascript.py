"""`bin/audit-javascript` asks npm's registry for advisories about what images serve, and says when it cannot."""

import os
import subprocess
from pathlib import Path

import pytest

from deploy.sbom import ROOT
from tests.npm_registry import Registry, pack, serve

ADVISORY = {
    "id": 1,
    "url": "https://github.com/advisories/GHSA-xxxx-xxxx-xxxx",
    "title": "A playlist runs a script",
    "severity": "high",
    "vulnerable_versions": "<2.0.0",
    "cwe": ["CWE-79"],
    "cvss": {"score": 7.1, "vectorString": None},
}


def audit(registry: str, folder: Path, **settings: str) -> tuple[int, str]:
    environment = {**os.environ, "npm_config_registry": registry, "npm_config_cache": str(folder), **settings}
    result = subprocess.run(
        [ROOT / "bin/audit-javascript"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return result.returncode, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("advisories", "code", "said"),
    [
        ([], 0, "javascript: no known vulnerability"),
        ([ADVISORY], 1, "A playlist runs a script"),
        (None, 0, "not audited"),
    ],
    ids=["none", "one", "a mirror without them"],
)
def test_a_known_vulnerability_fails_the_audit(
    advisories: list[dict[str, object]] | None, code: int, said: str, tmp_path: Path
) -> None:
    registry = Registry("hls.js", "1.7.4", pack({}), advisories)
    with serve(registry):
        found, output = audit(registry.url, tmp_path)

    assert found == code, output
    assert said in output
    assert "/-/npm/v1/security/advisories/bulk" in registry.asked


def test_an_audit_that_is_required_fails_where_nothing_answers(tmp_path: Path) -> None:
    found, output = audit("http://127.0.0.1:9", tmp_path, AUDIT="required")

    assert found == 1
    assert "not audited" in output
