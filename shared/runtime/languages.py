"""Chooses a visitor's language from the request, and gives its locale and money format (babel).

It needs babel, which the extras `gateway` and `stats` have.
"""

from collections.abc import Iterable
from copy import copy
from functools import cache

from babel import Locale
from babel.numbers import NumberPattern, parse_pattern

from shared.runtime.currency import major_units, minor_digits

#: Each language as Algeria writes it, and its own name.
LANGUAGES = {"en": ("en_GB", "English"), "fr": ("fr_DZ", "Français"), "ar": ("ar_DZ", "العربية")}
#: English has no habit of writing dinars: the code, a space, and the amount.
_MONEY_FORMATS = {"en": "¤\u00a0#,##0.00"}


def choose_language(asked: str | None, accepted: Iterable[tuple[str, float]]) -> str:
    """What the visitor asks for, or else the browser; English where that is none of ours."""
    if asked in LANGUAGES:
        return asked
    # "ar-DZ" asks for Arabic; the browser's list is in the order of its wishes
    wishes = (wish.partition("-")[0].lower() for wish, quality in accepted if quality > 0)
    return next((wish for wish in wishes if wish in LANGUAGES), "en")


@cache
def locale_of(language: str) -> Locale:
    """The locale of one of LANGUAGES; its digits are those of Algeria, 0 to 9, in Arabic too."""
    return Locale.parse(LANGUAGES[language][0])


def format_money(amount_minor: int, currency: str, language: str) -> str:
    """An amount with the digits of ISO 4217; babel's own are of CLDR, see `shared.runtime.currency`."""
    locale = locale_of(language)
    own = _MONEY_FORMATS.get(language)
    known: NumberPattern = parse_pattern(own) if own else locale.currency_formats["standard"]
    pattern = copy(known)
    digits = minor_digits(currency) or 0
    pattern.frac_prec = (digits, digits)
    amount = major_units(amount_minor, currency)
    written: str = pattern.apply(amount, locale, currency=currency, currency_digits=False)
    return written
