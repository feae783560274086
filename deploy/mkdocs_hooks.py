"""Hooks of MkDocs: pages of the repository's root, and links to files outside `docs/`, work on the site too.

`nav` may name a folder as `folder/*`. CONTRIBUTING.md and its like become pages; any other file that a page links to
is copied to `source/`, as text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
#: A file of the repository's root, and the page that it is on the site.
ROOT_PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "SECURITY.md": "security-policy.md",
    "SUPPORT.md": "support.md",
}
_LINK: Final = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder where `nav` says `folder/*`, by name, the index first."""
    config.nav = _expanded(config.nav or [], Path(config.docs_dir))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the root's pages, and each file outside `docs/` that a page links to."""
    for name, uri in ROOT_PAGES.items():
        if uri not in files.src_uris:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    for page in list(files.documentation_pages()):
        for target in _outside(page):
            if (uri := _source_uri(target)) not in files.src_uris:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where their files are on the site."""

    def moved(match: re.Match[str]) -> str:
        target = _resolved(page.file, match[1])
        uri = _uri_of(target) if target is not None else None
        if uri is None:
            return match[0]
        return posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".") + (match[2] or "")

    return _LINK.sub(moved, markdown)


def _expanded(entries: list[Any], docs: Path) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            ((title, inside),) = entry.items()
            if isinstance(inside, str) and inside.endswith("/*"):
                pages = sorted(docs.glob(f"{inside}.md"), key=lambda page: (page.name != "index.md", page.name))
                found.append({title: [page.relative_to(docs).as_posix() for page in pages]})
            else:
                found.append({title: _expanded(inside, docs) if isinstance(inside, list) else inside})
        else:
            found.append(entry)
    return found


def _outside(file: File) -> set[str]:
    """The files of the repository that a page links to and that are not pages."""
    targets = {_resolved(file, match[1]) for match in _LINK.finditer(file.content_string)}
    return {
        target
        for target in targets
        if target and not target.startswith("docs/") and target not in ROOT_PAGES and (ROOT / target).is_file()
    }


def _resolved(file: File, link: str) -> str | None:
    """The path in the repository that a link of a page leads to; nothing for an address."""
    if ":" in link or link.startswith("/"):
        return None
    origin = Path(str(file.abs_src_path)).relative_to(ROOT).as_posix()
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))


def _uri_of(target: str) -> str | None:
    if target in ROOT_PAGES:
        return ROOT_PAGES[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return _source_uri(target) if (ROOT / target).is_file() else None


def _source_uri(target: str) -> str:
    return f"source/{target}.txt" if not target.endswith((".png", ".svg", ".json")) else f"source/{target}"
