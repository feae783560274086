"""Texts of people and strangers: what may come in, and how it is shown.

What turns the text around it, ends its line or moves a terminal's cursor is refused where a text comes in by the API or
a form, left out where a film brings it, and written as an escape where it is shown; a page also isolates what it shows.
Titles and searches are often copied, and copied Arabic comes with changes of direction: there those are left out, too.
The marks that Arabic keyboards type, and what joins letters and emoji, stay everywhere: a mark moves no more than an
Arabic letter does.
"""

import re
import unicodedata
from typing import Any, Final

#: Control characters; separators of lines and paragraphs.
_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
#: Embeddings, overrides, isolates and their ends (Unicode's annex 9), and the deprecated marks behind them.
_DIRECTION: Final = r"\u202a-\u202e\u2066-\u206f"
_UNSAFE: Final = _CONTROL + _DIRECTION
#: What is allowed, and shows nothing by itself.
_UNSEEN: Final = (
    r"\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u3164"
    r"\u2800\ufe00-\ufe0f\ufeff\uffa0"
)
#: Tags and selectors, within emoji as a rule; in no schema, since JavaScript reads them only with the flag `u`.
_UNSEEN_TAGS: Final = "\U000e0000-\U000e0fff"
#: The patterns of a schema: a text without what is unsafe, and one that shows something without its directions.
PLAIN_PATTERN: Final = f"^[^{_UNSAFE}]*$"
TITLE_PATTERN: Final = f"^[^{_CONTROL}]*[^{_UNSAFE}{_UNSEEN}][^{_CONTROL}]*$"

_ANY_UNSAFE = re.compile(f"[{_UNSAFE}]")
_BUT_LINES_AND_TABS = re.compile(f"(?![\t\n])[{_UNSAFE}]")
_ALL_UNSEEN = re.compile(f"[{_UNSAFE}{_UNSEEN}{_UNSEEN_TAGS}]*")
_ANY_DIRECTION = re.compile(f"[{_DIRECTION}]")
_SEPARATORS = re.compile(r"[\t-\r\x85\u2028\u2029]+")
_RIGHT_TO_LEFT: Final = ("R", "AL", "AN")


def is_plain(text: str) -> bool:
    """Whether nothing in `text` is unsafe: it is one line, and stays where it stands."""
    return _ANY_UNSAFE.search(text) is None


def is_title(text: str) -> bool:
    """Whether `text` is plain, and something of it is seen."""
    return is_plain(text) and _ALL_UNSEEN.fullmatch(text) is None


def without_directions(text: str) -> str:
    """`text` without changes of direction: programs put them around what is copied from Arabic pages."""
    return _ANY_DIRECTION.sub("", text)


def plain(text: str, longest: int) -> str:
    """`text` as one line without what is unsafe, cut; empty where nothing of it would be seen."""
    # what ends a line or a column separates words
    line = _ANY_UNSAFE.sub("", _SEPARATORS.sub(" ", text)).strip()[:longest].rstrip()
    return line if is_title(line) else ""


def visible(text: str) -> str:
    """What is unsafe is written as escapes; lines and tabs stay."""
    return _BUT_LINES_AND_TABS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def finalize(value: Any) -> Any:
    """`visible` for what a template of Jinja writes; Markup and other kinds of text are the page's own."""
    return visible(value) if type(value) is str else value


def has_right_to_left(text: str) -> bool:
    """Whether letters, digits or marks of `text` run from right to left, so that a page must isolate it."""
    return any(unicodedata.bidirectional(character) in _RIGHT_TO_LEFT for character in text)
