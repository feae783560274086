"""`make release`, dry and real, in a clone of this project: what it builds, dates, tags and refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from deploy.release import ReleaseError, date_changelog

PROJECT = Path(__file__).parents[2]
VERSION = "9.8.7"


def git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this working tree, committed in a repository of their own."""
    folder = tmp_path_factory.mktemp("release") / "nouba"
    listed = git(PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    git(
        folder,
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@localhost",
        "commit",
        "--quiet",
        "--message",
        "tests: start",
    )
    return folder


def release(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As `make release` runs it, with this project's packages and the clone's own files."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.release", *arguments, "--no-images", "--date", "2026-11-30"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Built:
    """A release that was made as a dry run."""

    folder: Path
    #: The commit before it.
    head: str
    result: "subprocess.CompletedProcess[str]"

    @property
    def dist(self) -> Path:
        return self.folder / "dist"


@pytest.fixture(scope="module")
def dry_run(project: Path) -> Built:
    head = git(project, "rev-parse", "HEAD")
    return Built(project, head, release(project, VERSION, "--dry-run"))


def test_a_dry_run_builds_everything_and_changes_nothing(dry_run: Built) -> None:
    # Then the wheel, the source, a bill of materials a service and the checksums are there
    assert dry_run.result.returncode == 0, dry_run.result.stderr
    built = {file.name for file in dry_run.dist.iterdir()}
    bills = {f"nouba-{service}-{VERSION}.cdx.json" for service in ("gateway", "transcoder", "stats")}
    assert built == {f"nouba-{VERSION}-py3-none-any.whl", f"nouba-{VERSION}.tar.gz", "SHA256SUMS", *bills}
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dry_run.dist, check=True)

    # And nothing is committed, tagged or changed
    assert git(dry_run.folder, "rev-parse", "HEAD") == dry_run.head
    assert git(dry_run.folder, "tag") == ""
    assert git(dry_run.folder, "status", "--porcelain") == ""


def test_a_bill_of_materials_lists_every_pinned_package_with_hashes(dry_run: Built) -> None:
    bill = json.loads((dry_run.dist / f"nouba-gateway-{VERSION}.cdx.json").read_text())

    text = (dry_run.folder / "requirements/gateway.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    listed = {(component["name"], component["version"]) for component in bill["components"]}
    assert listed >= pinned
    assert all(component["hashes"] for component in bill["components"])
    assert bill["metadata"]["component"]["name"] == "nouba-gateway"
    assert bill["metadata"]["component"]["version"] == VERSION


@pytest.mark.slow
def test_the_same_commit_gives_the_same_wheel(dry_run: Built) -> None:
    wheel = dry_run.dist / f"nouba-{VERSION}-py3-none-any.whl"
    first = wheel.read_bytes()
    wheel.unlink()

    assert release(dry_run.folder, VERSION, "--dry-run").returncode == 0

    assert wheel.read_bytes() == first


def test_a_release_is_a_commit_with_a_date_a_version_and_a_tag(project: Path, tmp_path: Path) -> None:
    # Given a clone that may be changed
    folder = tmp_path / "nouba"
    git(tmp_path, "clone", "--quiet", str(project), str(folder))

    # When it is released
    result = release(folder, VERSION)

    # Then the tag is on the branch, with the dated changelog and the version
    assert result.returncode == 0, result.stderr
    assert git(folder, "describe", "--exact-match") == f"v{VERSION}"
    assert git(folder, "log", "-1", "--format=%s") == f"release: {VERSION}"
    assert f"## Unreleased\n\n## {VERSION} - 2026-11-30\n" in (folder / "CHANGELOG.md").read_text()
    assert f'version = "{VERSION}"' in (folder / "pyproject.toml").read_text()
    assert git(folder, "status", "--porcelain") == ""

    # And the same version cannot be released twice
    again = release(folder, VERSION)
    assert again.returncode == 1
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("version", "reason"), [("0.0.1", "is older"), ("next", "is no version")], ids=["older", "no version"]
)
def test_a_wrong_version_is_refused(project: Path, version: str, reason: str) -> None:
    result = release(project, version, "--dry-run")
    assert result.returncode == 1
    assert reason in result.stderr


def test_a_changed_working_tree_is_refused(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "nouba"
    git(tmp_path, "clone", "--quiet", str(project), str(folder))
    (folder / "README.md").write_text("changed")
    result = release(folder, VERSION, "--dry-run")
    assert result.returncode == 1
    assert "the working tree has changes" in result.stderr


def test_a_changelog_without_changes_is_refused() -> None:
    with pytest.raises(ReleaseError, match="nothing under"):
        date_changelog("# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-01-01\n- x\n", "0.2.0", date(2026, 11, 30))


def test_older_versions_keep_their_place() -> None:
    dated = date_changelog(
        "## Unreleased\n\n### Fixed\n- y\n\n## 0.1.0 - 2026-01-01\n- x\n", "0.2.0", date(2026, 11, 30)
    )
    assert dated == ("## Unreleased\n\n## 0.2.0 - 2026-11-30\n\n### Fixed\n- y\n\n## 0.1.0 - 2026-01-01\n- x\n")
