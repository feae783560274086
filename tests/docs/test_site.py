"""`make docs` builds: every link and anchor leads somewhere, and every page is in the navigation."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.lint

PROJECT = Path(__file__).parents[2]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    assert "WARNING  -" not in result.stderr
    pages = {page.relative_to(tmp_path / "site").as_posix() for page in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "glossary.html", "contributing.html", "runbooks/LedgerDrift.html"} <= pages


def test_a_broken_link_would_fail(tmp_path: Path) -> None:
    # Given a page with a link to nothing, in a copy of the settings
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Page\n\n[nowhere](nowhere.md) and [no part](#nowhere)\n")
    settings = (PROJECT / "mkdocs.yml").read_text().partition("\nnav:")[0]
    (tmp_path / "mkdocs.yml").write_text(settings.replace("hooks: [deploy/mkdocs_hooks.py]\n", ""))

    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.returncode != 0
    assert "'nowhere.md'" in result.stderr
    assert "#nowhere" in result.stderr
