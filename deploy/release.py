"""`make release`: builds a release's wheel, images, SBOMs and checksums, dates the changelog and sets the tag.

It works in a clone of the committed files, so that nothing of this working tree gets into a release; what is built is
in `dist/`. Without `--dry-run` the clone's commit and tag are then taken over into the current branch; nothing is
pushed. RELEASING.md has the steps around it.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SERVICES: Final = {"gateway": "webhook_gateway", "transcoder": "transcoder", "stats": "stats"}
_VERSION: Final = re.compile(r"\d+\.\d+\.\d+")
_UNRELEASED: Final = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)


class ReleaseError(Exception):
    """Why there is no release; the sentence says the fix."""


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """`python -m deploy.release VERSION [--dry-run] [--date YYYY-MM-DD] [--no-images]`"""
    parser = argparse.ArgumentParser(prog="make release", description="Build and tag a release.")
    parser.add_argument("version", help="the new version, as 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="build everything in dist/, but commit and tag nothing")
    parser.add_argument("--date", type=date.fromisoformat, default=datetime.now(UTC).date(), help="default: today, UTC")
    parser.add_argument("--no-images", action="store_true", help="build no container images")
    given = parser.parse_args(arguments)
    try:
        release(given.version, given.date, root, dry_run=given.dry_run, images=not given.no_images)
    except ReleaseError as error:
        print(f"No release: {error}", file=sys.stderr)
        return 1
    return 0


def release(version: str, day: date, root: Path, *, dry_run: bool, images: bool) -> None:
    """Build `version` from what is committed in `root`, and tag it there unless `dry_run`."""
    _check(version, root)
    with tempfile.TemporaryDirectory(prefix="nouba-release-") as folder:
        clone = Path(folder) / "nouba"
        _run(["git", "clone", "--quiet", "--no-local", str(root), str(clone)], root)
        _write_version(clone, version, day)
        _commit_and_tag(clone, root, version)
        dist = root / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        dist.mkdir()
        _build_packages(clone, dist)
        _build_sboms(clone, dist, version)
        if images:
            _build_images(clone, dist, version)
        _write_checksums(dist)
        if not dry_run:
            _run(["git", "fetch", "--quiet", str(clone), f"refs/tags/v{version}:refs/tags/v{version}"], root)
            _run(["git", "merge", "--quiet", "--ff-only", f"v{version}"], root)
    for file in sorted(dist.iterdir()):
        print(file.relative_to(root))
    print(f"Dry run: no commit, no tag v{version}." if dry_run else f"Tagged v{version}. Push it: RELEASING.md.")


def date_changelog(text: str, version: str, day: date) -> str:
    """The changelog with what was unreleased as `version` of `day`. Raises ReleaseError where nothing was."""
    found = _UNRELEASED.search(text)
    if found is None or not found[1].strip():
        raise ReleaseError("CHANGELOG.md has nothing under `## Unreleased`; write what changed there.")
    return f"{text[: found.start()]}## Unreleased\n\n## {version} - {day.isoformat()}\n{text[found.start(1) :]}"


def _check(version: str, root: Path) -> None:
    if not _VERSION.fullmatch(version):
        raise ReleaseError(f"{version!r} is no version: give three numbers, as in make release VERSION=0.2.0")
    if _run(["git", "status", "--porcelain"], root):
        raise ReleaseError("the working tree has changes: commit or stash them first.")
    if _run(["git", "tag", "--list", f"v{version}"], root):
        raise ReleaseError(f"the tag v{version} is there already: choose the next version.")
    current = re.search(r'^version = "([^"]+)"', (root / "pyproject.toml").read_text(), re.MULTILINE)
    if current is None or _numbers(version) < _numbers(current[1]):
        raise ReleaseError(f"{version} is older than the version in pyproject.toml: choose a newer one.")
    date_changelog((root / "CHANGELOG.md").read_text(), version, date.min)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _write_version(clone: Path, version: str, day: date) -> None:
    project = clone / "pyproject.toml"
    project.write_text(re.sub(r'^version = ".*"', f'version = "{version}"', project.read_text(), flags=re.MULTILINE))
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(date_changelog(changelog.read_text(), version, day))


def _commit_and_tag(clone: Path, root: Path, version: str) -> None:
    """With the author that `root` is set to; the clone has no settings of its own."""
    name = _run(["git", "config", "--default", "release", "user.name"], root)
    email = _run(["git", "config", "--default", "release@localhost", "user.email"], root)
    git = ["git", "-c", f"user.name={name}", "-c", f"user.email={email}"]
    _run([*git, "commit", "--quiet", "--all", "--message", f"release: {version}"], clone)
    _run([*git, "tag", "--annotate", f"v{version}", "--message", f"Nouba {version}"], clone)


def _build_packages(clone: Path, dist: Path) -> None:
    """Wheel and source; the same commit before the release's own gives the same bytes, whenever it is released."""
    commit_time = _run(["git", "log", "-1", "--format=%ct", "HEAD~1"], clone)
    _run([sys.executable, "-m", "hatchling", "build", "-d", str(dist)], clone, {"SOURCE_DATE_EPOCH": commit_time})


def _build_sboms(clone: Path, dist: Path, version: str) -> None:
    """What each service's image installs and serves, with hashes, as CycloneDX."""
    for service in SERVICES:
        bill = _run([sys.executable, "-m", "deploy.sbom", service], clone)
        (dist / f"nouba-{service}-{version}.cdx.json").write_text(bill + "\n")


def _build_images(clone: Path, dist: Path, version: str) -> None:
    """An image a service, and its digest in `images.txt`; nothing where there is no engine."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        print("There is no container engine here: no images.", file=sys.stderr)
        return
    built = []
    for service, folder in SERVICES.items():
        tag = f"nouba-{service}:{version}"
        dockerfile = f"services/{folder}/Dockerfile"
        _run(["docker", "build", "--quiet", "--build-arg", "PIP_INDEX_URL", "-t", tag, "-f", dockerfile, "."], clone)
        built.append(f"{tag} {_run(['docker', 'image', 'inspect', '--format', '{{.Id}}', tag], clone)}\n")
    (dist / "images.txt").write_text("".join(built))


def _write_checksums(dist: Path) -> None:
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(dist.iterdir())]
    (dist / "SHA256SUMS").write_text("".join(lines))


def _run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise ReleaseError(f"`{' '.join(command[:4])}` failed:\n{(result.stderr or result.stdout).strip()}")
    return result.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
