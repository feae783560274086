"""docs/architecture.md is true: its tree has every folder, and each file of its walks exists."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.lint

PROJECT = Path(__file__).parents[2]
TEXT = (PROJECT / "docs" / "architecture.md").read_text()
#: A folder's parts that one line of the tree stands for.
INSIDE = {"services/webhook_gateway/providers", "services/webhook_gateway/school_api", "services/transcoder/hls"}


def walk(title: str) -> list[str]:
    part = TEXT.partition(f"### {title}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| \d+ \| `([^`]+)` \|", part, re.MULTILINE)


@pytest.mark.parametrize(("title", "most"), [("Read one webhook", 25), ("Read one video", 30)])
def test_a_walk_names_files_that_exist_and_is_short(title: str, most: int) -> None:
    files = walk(title)
    assert 0 < len(files) <= most
    assert [file for file in files if not (PROJECT / file).is_file()] == []


def test_the_tree_has_every_package() -> None:
    shown = tree()
    packages = {
        folder.parent.relative_to(PROJECT).as_posix()
        for root in ("services", "shared")
        for folder in (PROJECT / root).rglob("__init__.py")
    }
    expected = {
        package
        for package in packages - {"services", "shared"}
        if len(package.split("/")) <= (4 if package.endswith("/spool") else 3)
        and not any(package.startswith(f"{folder}/") for folder in INSIDE)
        and not (package.startswith("shared/") and len(package.split("/")) > 2)
    }
    assert {place for place in shown if place.startswith(("services/", "shared/"))} == expected
    assert [place for place in shown if not (PROJECT / place).is_dir()] == []


def tree() -> set[str]:
    """Every folder of the tree, by its path."""
    block = TEXT.partition("## The tree\n\n```\n")[2].partition("```")[0]
    places: list[str] = []
    found = set()
    for line in block.splitlines():
        branch = re.match(r"((?:[│ ]   )*(?:[├└]── )?)([a-z_]+)/", line)
        assert branch is not None, line
        places[len(branch[1]) // 4 :] = [branch[2]]
        found.add("/".join(places))
    return found - {"services", "shared"}
