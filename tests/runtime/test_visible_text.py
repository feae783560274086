"""Ordinary titles in Arabic, French and emoji come in and are shown as they are; what turns a page around does not."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment
from markupsafe import Markup

from shared.runtime.visible_text import (
    PLAIN_PATTERN,
    TITLE_PATTERN,
    finalize,
    has_right_to_left,
    is_plain,
    is_title,
    plain,
    visible,
    without_directions,
)

#: What people type, with the marks and joiners of their keyboards.
ORDINARY = {
    "arabic": "انكسار الضوء: الدرس 3",
    "arabic with tatweel and diacritics": "الـفـيزيَاءُ",
    "arabic with a mark": "\u200fCNN\u200f: الدرس (2)\u200e",
    "arabic letter mark": "\u061c+5 درجات",
    "persian": "می\u200cرود",
    "hebrew": "שיעור",
    "french": "Leçon n°\u00a01\u202f: l’œil, « réfraction »",
    "decomposed": "e\u0301te\u0301",
    "emoji": "\U0001f469\u200d\U0001f3eb \U0001f1e9\U0001f1ff ❤\ufe0f",
    "flag of a region": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "file of a phone": "\u200eWhatsApp Video 2026-11-30.mp4",
    "chinese": "光的折射",
}
UNSAFE = {
    "NUL": "\x00",
    "bell": "\x07",
    "tab": "\t",
    "line feed": "\n",
    "escape": "\x1b",
    "delete": "\x7f",
    "next line": "\x85",
    "C1": "\x9b",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    **{unicodedata.name(chr(code)).lower(): chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x2070))},
}


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY)
def test_ordinary_titles_come_in_and_are_shown_as_they_are(text: str) -> None:
    assert is_title(text)
    assert re.search(TITLE_PATTERN, text)
    assert plain(text, 200) == text
    assert visible(text) == text


@pytest.mark.parametrize("character", UNSAFE.values(), ids=UNSAFE)
def test_what_turns_a_page_around_is_refused_left_out_and_shown_as_an_escape(character: str) -> None:
    text = f"one{character}two"

    assert not is_plain(text)
    assert not re.search(PLAIN_PATTERN, text)
    # a title loses changes of direction
    assert is_plain(without_directions(text)) == (re.search(TITLE_PATTERN, text) is not None)
    assert plain(text, 200) in ("onetwo", "one two")
    assert visible(text).isprintable() or character in "\t\n"


@pytest.mark.parametrize(
    "text", ["", " ", "\u00a0", "\u200f", "\u200b\u2060", "\ufeff", "\u3164", "\u00ad\u034f", "\u2800", "\U000e0020"]
)
def test_a_title_of_which_nothing_is_seen_is_none(text: str) -> None:
    assert is_plain(text)
    assert not is_title(text)
    assert plain(text, 200) == ""


@given(st.text())
def test_what_is_shown_is_plain_but_for_lines_and_what_is_cleaned_is_a_title_or_empty(text: str) -> None:
    assert is_plain(visible(text).replace("\n", " ").replace("\t", " "))
    assert plain(text, 5) == "" or (is_title(plain(text, 5)) and len(plain(text, 5)) <= 5)
    assert is_plain(text) == (re.search(PLAIN_PATTERN.replace("$", r"\Z"), text) is not None)


def test_a_template_shows_strangers_text_with_escapes_and_its_own_markup_as_it_is() -> None:
    template = Environment(autoescape=True, finalize=finalize).from_string("<bdi>{{ title }}</bdi> {{ own }} {{ n }}")

    shown = template.render(title="a\u2069\u202e<b>", own=Markup("<i>\u2068x\u2069</i>"), n=3)

    assert shown == "<bdi>a\\u2069\\u202e&lt;b&gt;</bdi> <i>\u2068x\u2069</i> 3"


def test_right_to_left_letters_digits_and_marks_are_found() -> None:
    assert all(has_right_to_left(text) for text in ("a ش", "א", "\u0661", "\u200f", "\u061c"))
    assert not any(has_right_to_left(text) for text in ("", "Leçon 1", "光", "\u200e", "\u202f"))
