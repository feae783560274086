"""Amounts have the digits of ISO 4217, from a library, and what is written is read back the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.stats.api.dashboard.i18n import words_of
from services.stats.cli_output import _amount
from services.stats.sections.base import Unit
from shared.runtime.currency import BadAmountError, format_minor, minor_digits, parse_minor, require_currency
from shared.runtime.languages import LANGUAGES


@pytest.mark.parametrize(
    ("currency", "text"),
    [
        ("DZD", "1,234,567.89 DZD"),
        ("TND", "123,456.789 TND"),
        ("JPY", "123,456,789 JPY"),
        # CLDR, and so babel, writes these without decimals
        ("LBP", "1,234,567.89 LBP"),
        ("IQD", "123,456.789 IQD"),
        ("YER", "1,234,567.89 YER"),
    ],
)
def test_an_amount_has_the_digits_of_iso_4217(currency: str, text: str) -> None:
    assert format_minor(123_456_789, currency) == text
    # on the command line of the statistics too
    assert _amount(123_456_789, Unit.MINOR, currency) == text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("currency", "written"),
    [
        ("DZD", "12,345.67"),
        ("TND", "1,234.567"),
        ("JPY", "1,234,567"),
        ("LBP", "12,345.67"),
        ("IQD", "1,234.567"),
    ],
)
def test_the_page_writes_the_same_digits_in_every_language(language: str, currency: str, written: str) -> None:
    thousands, decimal = {"en": (",", "."), "fr": ("\u202f", ","), "ar": (".", ",")}[language]
    expected = written.translate({ord(","): thousands, ord("."): decimal})
    assert expected in words_of(language).value(-1_234_567, Unit.MINOR, currency)


@pytest.mark.parametrize(("text", "minor"), [("25", 25_000), ("-0.5", -500), ("+1.250", 1_250)])
def test_an_amount_is_read_in_the_main_unit(text: str, minor: int) -> None:
    assert parse_minor(text, "TND") == minor


@pytest.mark.parametrize("text", ["", "1,000", "1.2345", "1e3", "NaN", "٣", "0x1", " 1", "1.", "9" * 17])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(BadAmountError, match="is no amount of TND"):
        parse_minor(text, "TND")


@given(st.integers(-(10**15), 10**15), st.sampled_from(["DZD", "TND", "JPY", "LBP"]))
def test_what_is_written_is_read_back_the_same(minor: int, currency: str) -> None:
    written = format_minor(minor, currency).removesuffix(f" {currency}").replace(",", "")
    assert parse_minor(written, currency) == minor


def test_a_code_that_is_none_is_refused_as_a_setting_and_shown_in_minor_units() -> None:
    assert minor_digits("ABC") is None
    assert format_minor(1000, "ABC") == "1,000 ABC (minor units)"
    with pytest.raises(ValueError, match="no currency of ISO 4217"):
        require_currency("ABC")
