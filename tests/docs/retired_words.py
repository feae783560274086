"""Finds retired words (docs/glossary.md) in the repository: `python -m tests.docs.retired_words` shortens the list.

`retired_words.tsv` lists the files that still have one. The list only shrinks: a file that gets a retired word fails
`test_glossary.py`, and so does a line of the list that is not needed any more. The command removes such lines, adds
none, and exits with 1 if a file has a word that the list does not allow.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Set
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
LIST: Final = Path(__file__).with_name("retired_words.tsv")
#: Where words are history, or the words of others.
_LEFT_OUT: Final = re.compile(
    r"CHANGELOG\.md|LICENSE|package-lock\.json|docs/(glossary|performance-history)\.md|docs/decisions/|tests/docs/|requirements/"
    r"|tests/contracts/golden/|/recorded/|/migrations/versions/|deploy/grafana/dashboards/|deploy/helm/nouba/files/|\.min\.js$|/swagger-ui[^/]*$|\.(png|svg|ico|woff2?)$"
)
_FORMS: Final = {"tell": r"tells?|telling", "look": r"looks?|looked|looking", "rehearse": r"rehears(?:e|es|ed|ing)"}
_FORMS_OF_PROMISE: Final = r"promis(?:e|es|ed|ing)"
#: A word of prose, or of a name in either case: `_look_at`, `ShelfAge`.
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def retired() -> dict[str, re.Pattern[str]]:
    """Each retired word of the glossary with the pattern of its forms."""
    table = GLOSSARY.read_text().partition("## Retired words")[2]
    words = [word.strip() for row in re.findall(r"^\| ([a-z, ]+) \|", table, re.MULTILINE) for word in row.split(",")]
    words.remove("retired")
    return {
        word: re.compile(_FORMS_OF_PROMISE if word == "promise" else _FORMS.get(word, f"{word}s?")) for word in words
    }


def found() -> Iterator[tuple[str, str]]:
    """Each file, by its path in the repository, with each retired word that is in it."""
    patterns = retired()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for path in sorted(filter(None, listed.split("\0"))):
        if _LEFT_OUT.search(path) or not (ROOT / path).is_file():
            continue
        words = {word.lower() for word in _WORD.findall((ROOT / path).read_text(errors="ignore"))}
        for name, pattern in patterns.items():
            if any(pattern.fullmatch(word) for word in words):
                yield path, name


def allowed() -> set[tuple[str, str]]:
    """The files that still have a retired word, with the word."""
    rows = (line.split("\t") for line in LIST.read_text().splitlines())
    return {(path, word) for path, *words in rows for word in words}


def shrink(lines: Iterable[str], there: Set[tuple[str, str]]) -> list[str]:
    """The list's lines with the words that are still there, in the same order."""
    kept = []
    for path, *words in (line.split("\t") for line in lines):
        if needed := [word for word in words if (path, word) in there]:
            kept.append("\t".join([path, *needed]))
    return kept


def main() -> int:
    """Remove what the list does not need any more; 1 and the words on standard error if some are not allowed."""
    there = set(found())
    new = there - allowed()
    LIST.write_text("".join(line + "\n" for line in shrink(LIST.read_text().splitlines(), there)))
    for path, word in sorted(new):
        print(f"{path}: {word} is retired; docs/glossary.md has the word to use", file=sys.stderr)
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
