"""Languages of the console: which one a visitor gets, its words, and how it writes figures and times.

The English text is the key: `translations/<language>.toml` has the other two. What the database holds (reasons, ids, a
provider's words) stays as it is, and stands isolated, so that neither turns the other around: a right-to-left page its
Latin words, and a title in Arabic the page. What would break out of that is shown as an escape, in every template.
"""

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from babel.numbers import format_decimal
from flask import Flask, Response, g, has_request_context, redirect, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup, escape

from services.console.redirects import local_path
from services.console.sessions import OPEN
from shared.runtime.currency import Money, format_minor
from shared.runtime.languages import LANGUAGES, choose_language, format_money, locale_of
from shared.runtime.translatable_sentence import Sentence
from shared.runtime.visible_text import finalize, has_right_to_left, visible

COOKIE = "nouba_language"
_COOKIE_SECONDS = 365 * 86_400
_FOLDER = Path(__file__).parent / "translations"
#: First strong isolate and its end: what stands between is laid out by itself. An attribute has no `<bdi>`.
_ISOLATE, _END = "\u2068", "\u2069"

Entry = str | Mapping[str, str]


#: States and kinds that the tables hold, as `word` shows them.
WORDS = (
    *("pending", "authorized", "completed", "partially refunded", "refunded", "disputed", "charged back", "failed"),
    *("canceled", "cancelled", "expired", "active", "ended", "pending payment"),
    *("undecided", "received", "applied", "ignored", "quarantined", "dead", "accepted", "dismissed"),
    *("replayed", "discarded", "delivered", "queued", "probing", "encoding", "publishing"),
    *("capture", "refund", "dispute", "fee", "collected", "succeeded", "inquiry", "open", "won", "lost", "payment"),
    *("refund reversed", "dispute withheld", "dispute released", "dispute lost", "dispute fee", "activation"),
    *("deactivation", "adjustment", "viewer", "operator", "cancel", "retry", "delete", "1h", "1d", "7d"),
)


class Written(str):
    """Text that the console has written, such as a number or a sentence: its own marks of direction stay in it."""


def language() -> str:
    """The visitor's: what was chosen on a page, or else what the browser asks for."""
    if not has_request_context():
        return "en"
    if "language" not in g:
        g.language = choose_language(request.cookies.get(COOKIE), request.accept_languages)
    return str(g.language)


def direction() -> str:
    return str(locale_of(language()).text_direction)


@cache
def catalogue(of: str) -> Mapping[str, Entry]:
    """English texts with their translations; one for each plural form where a count decides. English has none."""
    if of == "en":
        return {}
    return tomllib.loads((_FOLDER / f"{of}.toml").read_text(encoding="utf-8"))


def mark(text: str) -> str:
    """Marks a text for translation; returns it unchanged."""
    return text


def translate(text: str, /, **values: Any) -> str:
    """The text in the visitor's language, with its values. A Sentence brings its own."""
    pattern, given = _parts(text, values)
    return Written(_pattern(pattern) % _values(given))


def translate_html(text: str, /, **values: Any) -> Markup:
    """Likewise for a page: the text may hold elements, the values are escaped."""
    pattern, given = _parts(text, values)
    return Markup(_pattern(pattern)) % _values(given)  # noqa: S704


def translate_count(one: str, other: str, n: int, /, **values: Any) -> str:
    """Of two texts the one for `n` things; Arabic has six forms. `%(n)s` is the number."""
    return Written(_counted(one, other, n) % {"n": write_count(n), **_values(values)})


def message_of(error: Exception) -> str:
    """What one of our errors says. `str(error)` would forget the sentence's pattern."""
    found = error.args[0]
    return translate(found) if isinstance(found, Sentence) else Written(_shown(str(found)))


def sentence(text: str) -> str | Markup:
    """A Sentence in the visitor's language; other text stays as it is."""
    return translate_html(text) if isinstance(text, Sentence) else isolated(text)


def word(text: str | None) -> str | Markup:
    """One of the states and kinds of WORDS; any other stays as it is."""
    if text is None:
        return "–"
    spaced = text.replace("_", " ")
    found = catalogue(language()).get(spaced)
    return Written(found) if isinstance(found, str) else spaced if language() == "en" else isolated(spaced)


def isolated(text: Any) -> str | Markup:
    """The text, apart from what surrounds it."""
    shown = _visible(text)
    return Markup("<bdi>{}</bdi>").format(shown) if _needs_isolation(shown) else escape(shown)


def write_count(value: int) -> str:
    """With thousands apart."""
    if language() == "en":
        return Written(f"{value:,}".replace(",", "\u202f"))
    return Written(format_decimal(value, locale=locale_of(language())))


def write_decimal(value: float, digits: int = 1) -> str:
    if language() == "en":
        return f"{value:.{digits}f}"
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return Written(format_decimal(Decimal(f"{value:.{digits}f}"), pattern, locale=locale_of(language())))


def write_money(amount_minor: int, currency: str, with_sign: bool = False) -> str:
    if language() == "en":
        return format_minor(amount_minor, currency, with_sign=with_sign)
    sign = "+" if with_sign and amount_minor >= 0 else ""
    return Written(sign + format_money(amount_minor, currency, language()))


def write_instant(value: datetime) -> str:
    """With its seconds, in the zone that it has; digits are Latin, as in references and logs."""
    return f"{write_day(value.date())} {value:%H:%M:%S}"


def write_day(value: date) -> str:
    return f"{value:%Y-%m-%d}" if language() == "en" else f"{value:%d/%m/%Y}"


def add_languages(app: Flask, *, is_https: bool) -> None:
    """Give `app` the languages: the words of its templates, and the address that changes the language."""
    environment = app.jinja_env
    environment.finalize = finalize
    environment.globals |= {
        "_": translate_html,
        "counted": _count_html,
        "language": language,
        "direction": direction,
        "languages": {code: name for code, (_, name) in LANGUAGES.items()},
    }
    environment.filters |= {"word": word, "isolated": isolated, "sentence": sentence, "written": Written}

    @app.after_request
    def name_language(answer: Response) -> Response:
        if request.endpoint not in OPEN:
            answer.headers["Content-Language"] = language()
        return answer

    @app.get(f"/language/<any({','.join(LANGUAGES)}):code>")
    def set_language(code: str) -> ResponseReturnValue:
        answer = redirect(local_path(request.args.get("to", "")))
        answer.set_cookie(COOKIE, code, _COOKIE_SECONDS, secure=is_https, httponly=True, samesite="Lax")
        return answer


def _count_html(one: str, other: str, n: int, /, **values: Any) -> Markup:
    return Markup(_counted(one, other, n)) % {"n": write_count(n), **_values(values)}  # noqa: S704


def _parts(text: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return (text.pattern, text.values) if isinstance(text, Sentence) else (text, values)


def _values(given: dict[str, Any]) -> dict[str, Any]:
    return {name: _shown(value) for name, value in given.items()}


def _pattern(text: str) -> str:
    known = catalogue(language())
    # a state stands in a sentence as the table has it: partially_refunded
    entry = known.get(text) or known.get(text.replace("_", " ")) or text
    return entry if isinstance(entry, str) else entry["other"]


def _counted(one: str, other: str, n: int) -> str:
    entry = catalogue(language()).get(other)
    if entry is None or isinstance(entry, str):
        return entry or (one if n == 1 else other)
    return entry.get(locale_of(language()).plural_form(n), entry["other"])


def _visible(text: Any) -> str:
    """Of a stranger's text, what would change the sentence around it is written as escapes."""
    return text if isinstance(text, Written | Markup) else visible(str(text))


def _needs_isolation(text: str) -> bool:
    return direction() == "rtl" or has_right_to_left(text)


def _shown(value: Any) -> Any:
    """A value as a sentence of the visitor's language has it."""
    match value:
        case Markup() | int():
            return value
        case Sentence():
            return translate(value)
        case Money():
            text = write_money(value.amount_minor, value.currency, value.with_sign)
        case datetime():
            text = write_instant(value)
        case date():
            text = write_day(value)
        case _:
            text = _visible(value)
    return f"{_ISOLATE}{text}{_END}" if _needs_isolation(text) else text
