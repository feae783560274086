"""Currencies: how many digits a code's minor unit has, and amounts of minor units as people read them.

The digits are those of ISO 4217, from the table that its maintenance agency publishes (package `iso4217`). babel's are
of CLDR, which says how cash is written: it has no decimals for LBP or IQD, whose minor units have two and three.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache

from iso4217 import Currency

from shared.runtime.translatable_sentence import Sentence


class BadAmountError(ValueError):
    """The text is no amount of the currency; the message says what was expected."""


@cache
def minor_digits(currency: str) -> int | None:
    """The decimal digits of the currency: 2 for DZD, 3 for TND, 0 for JPY; None for a code that ISO 4217 lacks."""
    try:
        return Currency(currency).exponent or 0
    except ValueError:
        return None


def require_currency(currency: str) -> str:
    """The code, for a setting. Raises ValueError where ISO 4217 has no such currency."""
    if minor_digits(currency) is None:
        raise ValueError(f"{currency!r} is no currency of ISO 4217; use a code such as DZD, TND or EUR")
    return currency


def major_units(amount_minor: int, currency: str) -> Decimal:
    """The amount in the currency's main unit; of an unknown currency in minor units."""
    return Decimal(amount_minor).scaleb(-(minor_digits(currency) or 0))


def format_minor(amount_minor: int, currency: str, *, with_sign: bool = False) -> str:
    """The amount with thousands apart, its digits and its code: 2,500.00 DZD. `with_sign` writes a plus, too."""
    digits = minor_digits(currency)
    if digits is None:
        return f"{amount_minor:{'+' if with_sign else ''},} {currency} (minor units)"
    return f"{major_units(amount_minor, currency):{'+' if with_sign else ''},.{digits}f} {currency}"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in a sentence: each language writes it in its own way."""

    amount_minor: int
    currency: str
    #: Whether a plus is written, too.
    with_sign: bool = False

    def __str__(self) -> str:
        return format_minor(self.amount_minor, self.currency, with_sign=self.with_sign)


def parse_minor(text: str, currency: str) -> int:
    """The minor units of an amount in the main unit, such as -2500.00. Raises BadAmountError for anything else."""
    digits = minor_digits(currency) or 0
    try:
        minor = Decimal(text).scaleb(digits) if re.fullmatch(r"[+-]?[0-9]{1,16}(\.[0-9]+)?", text) else None
    except InvalidOperation:
        minor = None
    if minor is None or minor != minor.to_integral_value():
        example = f"{Decimal(25):.{digits}f}"
        pattern = "%(text)s is no amount of %(currency)s: write it as %(example)s"
        raise BadAmountError(Sentence(pattern, text=repr(text), currency=currency, example=example))
    return int(minor)
