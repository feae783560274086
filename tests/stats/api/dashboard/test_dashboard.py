"""The page as it is sent; what a browser makes of it is in tests/e2e/test_dashboard.py."""

import base64
import gzip
import hashlib
import re
import tomllib
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from flask import Flask

from services.stats.api.dashboard.i18n import words_of
from services.stats.api.dashboard.render import Policy, page_of
from services.stats.api.dashboard.sparkline import HEIGHT, WIDTH, sparkline
from services.stats.api.dashboard.view_model import SHOWN_KEYS, VIEWS, is_for_operators
from services.stats.api.rollup import begin_of
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.sections import SECTIONS
from services.stats.sections.base import Unit
from services.stats.snapshots.compute import canonical
from services.webhook_gateway.payments.payment_state import Status
from shared.runtime.languages import LANGUAGES
from tests.stats.api.conftest import FAILED, FIRST, GAP, LAST, Library
from tests.stats.api.processes import PLAIN, ZIPPED
from tests.stats.api.snapshots import REASON, payload_of

TRANSLATIONS = Path(__file__).parents[4] / "services" / "stats" / "api" / "translations"
#: Elements that have no end tag.
VOID = {"meta", "link", "input", "br", "path", "rect"}


def page(library: Library, query: str = "", **headers: str) -> httpx.Response:
    return library.client.get(f"/{query}", headers={**PLAIN, **headers})


class Nesting(HTMLParser):
    """Fails where an element is closed that is not open; collects ids and references to them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.attributes.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        for name in ("aria-describedby", "aria-labelledby", "for"):
            self.references.update(str(given.get(name) or "").split())

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_small_and_needs_nothing_else(library: Library, language: str) -> None:
    with library.client.stream("GET", f"/?lang={language}", headers=ZIPPED) as answer:
        sent = b"".join(answer.iter_raw())
    html = page(library, f"?lang={language}").text

    assert len(sent) < 60_000
    assert "<script" not in html
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']?\s*(?:[a-z]+:)?//|url\(|@import""", html, re.IGNORECASE)
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = page(library).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert " style=" not in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_shows_every_number_with_its_definition(library: Library, language: str) -> None:
    words = words_of(language)
    pages = {view: page(library, f"?lang={language}&view={view}").text for view in VIEWS}
    nestings = {view: Nesting(html) for view, html in pages.items()}

    for nesting in nestings.values():
        assert len(nesting.ids) == len(set(nesting.ids))
        assert nesting.references <= set(nesting.ids)
    for section in SECTIONS:
        for number in section.numbers:
            view = VIEWS[is_for_operators(section.name, number.name)]
            html = pages[view]
            assert section.name in nestings[view].ids
            assert [f"d-{section.name}.{number.name}" in one.ids for one in nestings.values()] == [
                one == view for one in VIEWS
            ]
            definition, spoken = words.definition(section, number)
            assert spoken == language
            assert definition.split(":")[0].replace("'", "&#39;") in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_names_what_a_day_has_no_value_of_and_says_that_no_month_is_closed(language: str) -> None:
    words, payload = words_of(language), deepcopy(payload_of(LAST))
    del payload["sections"]["users"]["numbers"]["by_role"], payload["sections"]["users"]["numbers"]["by_year"]
    day = Day(LAST, 1, "etag", gzip.compress(canonical(payload)), datetime.now(UTC))

    with Flask("services.stats.api").app_context():
        html = page_of(SnapshotCache({LAST: day}), LAST, language, Policy(7, 5)).plain.decode()

    names = words.page["comma"].join(words.number("users", name) for name in ("by_role", "by_year"))
    assert re.findall(r'<p class="quiet left-out">(.*?)</p>', html) == [words.page["absent_here"].format(names=names)]
    assert words.page["none_closed"] in html


def test_print_shows_the_definitions_that_a_screen_shows_at_a_touch(library: Library) -> None:
    html = page(library, "?lang=en").text
    printed = html.split("@media print {")[1].split("</style>")[0]
    rules = dict(re.findall(r"^ *([^{}]+?) {([^{}]*)}", printed, re.MULTILINE))

    hidden = [selector for selector, rule in rules.items() if "display: none" in rule]
    assert hidden
    assert not any("definition" in selector for selector in hidden)
    assert "display: block; position: static" in rules[".definition, .breakdown .definition"]


@pytest.mark.parametrize(
    ("query", "accepts", "language", "direction"),
    [
        ("", "", "en", "ltr"),
        ("", "ar-DZ,fr;q=0.8", "ar", "rtl"),
        ("", "de, fr-FR;q=0.5", "fr", "ltr"),
        ("", "de", "en", "ltr"),
        ("?lang=ar", "fr", "ar", "rtl"),
        ("?lang=xx", "fr", "fr", "ltr"),
        (f"?day={FIRST}&lang=fr", "", "fr", "ltr"),
    ],
)
def test_the_address_or_else_the_browser_chooses_the_language(
    library: Library, query: str, accepts: str, language: str, direction: str
) -> None:
    answer = page(library, query, **({"Accept-Language": accepts} if accepts else {}))

    assert f'<html lang="{language}" dir="{direction}">' in answer.text
    assert answer.headers["Content-Language"] == language
    assert answer.headers["Vary"] == "Accept-Language, Accept-Encoding"


def test_any_kept_day_has_a_page_and_links_to_its_neighbours(library: Library) -> None:
    html = page(library, f"?day={GAP + timedelta(days=1)}&lang=en").text

    assert 'rel="prev"' not in html
    assert f'rel="next" href="?day={GAP + timedelta(days=2)}&amp;lang=en"' in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_day_that_is_not_kept_has_a_page_that_says_so(library: Library, language: str) -> None:
    answer = page(library, f"?day={GAP}&lang={language}")

    assert answer.status_code == 404
    assert words_of(language).day(FIRST, "long") in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    Nesting(answer.text)


def test_the_first_cards_say_what_week_and_month_have_brought_so_far(library: Library) -> None:
    html = page(library, "?lang=en").text

    for step in ("week", "month"):
        first = begin_of(LAST, step)
        days = [first + timedelta(days=number) for number in range((LAST - first).days + 1)]
        amount = sum(payload_of(day)["sections"]["revenue"]["numbers"]["net"] for day in days)
        assert (
            f'<span class="quiet">{step} to date, from {words_of("en").day(first, "medium")}</span> '
            f'<a class="rows" href="rows?day={LAST}&amp;lang=en&amp;from={first}&amp;number=revenue.net">'
            f"<bdi>{words_of('en').value(amount, Unit.MINOR, 'DZD')}"
        ) in html
    # of the school year, the first days are not kept
    assert "school year to date" not in html or LAST - timedelta(days=39) <= begin_of(LAST, "school_year")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["refunded", "charged_back", "fees"])
def test_what_goes_back_and_what_providers_keep_has_its_month_to_date(
    library: Library, name: str, language: str
) -> None:
    words, first = words_of(language), LAST.replace(day=1)
    days = [first + timedelta(days=number) for number in range((LAST - first).days + 1)]
    amount = sum(payload_of(day)["sections"]["payments"]["numbers"][name] for day in days)
    label = words.page["month_to_date"].format(first=words.day(first, "medium"))

    row = page(library, f"?lang={language}").text.split(f'<tr id="payments.{name}">')[1].split("</tr>")[0]
    link = f"rows?day={LAST}&amp;lang={language}&amp;from={first}&amp;number=payments.{name}"
    value = f"<bdi>{words.value(amount, Unit.MINOR, 'DZD')}</bdi>"
    assert f'{label}{words.page["colon"]} <a class="rows" href="{link}">{value}</a>' in row


def test_the_operators_page_keeps_the_day_and_the_language(library: Library) -> None:
    html = page(library, f"?day={LAST}&lang=fr&view=operations").text

    assert 'class="card"' not in html
    assert f'href="?day={LAST - timedelta(days=1)}&amp;lang=fr&amp;view=operations"' in html
    assert f'href="?day={LAST}&amp;lang=ar&amp;view=operations"' in html
    assert f'href="?day={LAST}&amp;lang=fr"' in html, "the way back"
    assert page(library, "?view=finance").status_code == 400


def test_what_is_no_day_is_400(library: Library) -> None:
    assert page(library, "?day=then").status_code == 400


def test_what_a_reader_sends_is_not_shown_as_html(library: Library) -> None:
    answer = page(library, "?day=<b>&lang=<i>")

    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/json")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<i>" not in page(library, "?lang=<i>").text


def test_every_language_says_the_same_things() -> None:
    found = {language: tomllib.loads((TRANSLATIONS / f"{language}.toml").read_text()) for language in LANGUAGES}

    for table in ("page", "units", "keys", "records", "ids", "sections"):
        assert found["fr"][table].keys() == found["ar"][table].keys() == found["en"][table].keys()
    for key, phrase in found["en"]["page"].items():
        for language in ("fr", "ar"):
            assert set(re.findall(r"{\w+}", found[language]["page"][key])) == set(re.findall(r"{\w+}", phrase)), key
    every = {(section.name, number.name) for section in SECTIONS for number in section.numbers}
    breakdowns = {number.by for section in SECTIONS for number in section.numbers if number.by}
    for language, translation in found.items():
        assert translation["headings"].keys() == breakdowns, language
        numbers = translation["numbers"]
        assert {(section, name) for section, names in numbers.items() for name in names} == every
        for section, name in every:
            expected = {"name", "definition"}
            # in English the section's own definition stands, unless a reader of the page needs other words
            found_words = set(numbers[section][name]) | ({"definition"} if language == "en" else set())
            assert found_words == expected, (language, section, name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_definition_of_the_schools_page_needs_an_id_or_a_column(language: str) -> None:
    words = words_of(language)
    unread = [
        f"{section.name}.{number.name}: {definition}"
        for section in SECTIONS
        for number in section.numbers
        if not is_for_operators(section.name, number.name)
        and re.search(r"`|~|_|^[a-z]", definition := words.definition(section, number)[0])
    ]
    assert unread == []


@pytest.mark.parametrize(
    ("language", "said", "meant"),
    [
        # the school's word for a chapter in Algeria; a share is no session; who left is not missing
        (
            "ar",
            (
                *("الفصل", "فصول", "مفقودون", "95 من 100", 'share = "الحصة"', '"فاشلة"', '"النصف"', "، النصف"),
                # receipts are all of the cash, a top-up is one kind of them; a sum of all days is none to date
                *('topped_up = { name = "المقبوضات', "حتى اليوم"),
            ),
            (
                *("المحور", "غادروا", "المئين 95", 'share = "النسبة"', "عمليات دفع فاشلة", "الوسيط", "حصص"),
                'cash_in = { name = "المقبوضات"',
            ),
        ),
        (
            "fr",
            (
                *("dans le jour", "95 sur 100", "Dont revenus", '"Revenu"', "à la semaine précédente"),
                *('topped_up = { name = "Encaissements', "cumulé", '"Corrections"'),
                *("Assiduité", "Rejets bancaires", "ejeté par la banque"),
            ),
            (
                'cash_in = { name = "Encaissements"',
                "dans la journée",
                'engagement = "Activité"',
                "Impayés par carte (chargebacks)",
                "95e centile",
                "Dont de retour",
                "Encaissements",
                "au même jour de la semaine précédente",
            ),
        ),
    ],
)
def test_the_words_are_those_of_the_field(language: str, said: tuple[str, ...], meant: tuple[str, ...]) -> None:
    text = (TRANSLATIONS / f"{language}.toml").read_text()
    assert [word for word in said if word in text] == []
    assert [word for word in meant if word not in text] == []


def test_the_cards_begin_with_revenue_and_what_came_in_and_lead_to_their_rows(library: Library) -> None:
    html = page(library, "?lang=en").text
    cards = re.findall(r'<li class="card"><h3><a href="#(.*?)">(.*?)</a></h3>', html)
    assert [name for _, name in cards][:3] == ["Sales, net", "Cash in", "Students with access"]
    assert {number for number, _ in cards} <= set(Nesting(html).ids)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_breakdown_leaves_out_is_added_up(library: Library, language: str) -> None:
    words = words_of(language)
    by_chapter = payload_of(LAST)["sections"]["revenue"]["numbers"]["by_chapter"]
    left_out = sorted(by_chapter.values())[:-SHOWN_KEYS]
    assert left_out[0] > 0
    rest = words.value(sum(left_out), Unit.MINOR, "DZD")
    more = words.page["more"].format(count=words.count(len(left_out)), value=rest)
    breakdown = page(library, f"?lang={language}").text.split('id="d-revenue.by_chapter"')[1]
    assert rest in more
    at_once, _, behind = breakdown.split('<div class="breakdown">')[0].partition(
        f'<details><summary class="quiet">{more}</summary>'
    )
    assert at_once.count('<tr><th scope="row">') == SHOWN_KEYS
    assert behind.count('<tr><th scope="row">') == len(left_out)
    assert f"number=revenue.by_chapter&amp;key={len(by_chapter)}" in behind


def test_corrections_that_are_not_shown_at_once_are_added_up() -> None:
    booked = {str(chapter): -100 * chapter for chapter in range(1, SHOWN_KEYS + 4)}
    body = canonical({**payload_of(LAST), "corrections": {"revenue.by_chapter": booked, "revenue.net": -4500}})
    day = Day(LAST, 1, "etag", gzip.compress(body), datetime.now(UTC))
    with Flask("services.stats.api").app_context():
        html = page_of(SnapshotCache({LAST: day}), LAST, "en", Policy(7, 5)).plain.decode()

    Nesting(html)
    corrections = html.split('<section class="corrections"')[1].split("</section>")[0]
    at_once, _, behind = corrections.partition("<details>")
    assert at_once.count("number=corrections.revenue.by_chapter&amp;key=") == SHOWN_KEYS
    assert f"Sales, net, by chapter: and 3 more: {words_of('en').money(-600, 'DZD')}</summary>" in behind
    assert behind.count("number=corrections.revenue.by_chapter&amp;key=") == 3
    assert "number=corrections.revenue.net" in behind


def test_growing_debt_is_bad(library: Library) -> None:
    html = page(library, "?lang=en").text
    row = html.split('id="d-wallets.debt"')[1].split("</tr>")[0]
    changes = re.findall(r'class="change (\w+) (\w+)"', row)
    assert len(changes) == 3
    assert {mood for mood, sign in changes if sign == "up"} <= {"bad"}
    assert {mood for mood, sign in changes if sign == "down"} <= {"good"}


@pytest.mark.parametrize("number", ["wallets.credit", "revenue.deferred", "payments.clearing", "wallets.adjusted"])
def test_that_what_is_owed_grows_is_neither_good_nor_bad(library: Library, number: str) -> None:
    html = page(library, "?lang=en").text
    row = html.split(f'id="d-{number}"')[1].split("</tr>")[0]
    assert {mood for mood, _ in re.findall(r'class="change (\w+) (\w+)"', row)} == {"even"}


def test_each_of_the_questions_of_finance_is_answered_on_the_page(library: Library) -> None:
    text = (TRANSLATIONS.parents[3] / "docs" / "statistics-api.md").read_text(encoding="utf-8")
    table = text.split("## Questions of finance")[1].split("\n## ")[0]
    questions = dict(re.findall(r"^\| ([^|]+\?) \| ([^|]+) \|$", table, re.MULTILINE))
    html = page(library, "?lang=en").text
    every = {number.name: f"{section.name}.{number.name}" for section in SECTIONS for number in section.numbers}
    assert len(questions) >= 20
    for question, answer in questions.items():
        numbers = [every.get(word, word) for word in re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)?\w*)`", answer)]
        assert numbers, question
        for number in numbers:
            shown = number == "month_to_date" or f'id="d-{number}"' in html
            assert shown, (question, number)
    assert "month to date" in html


@pytest.mark.parametrize(
    ("language", "money", "many", "ratio", "time", "day"),
    [
        ("en", "DZD 1,234,567.05", "1,234,567", "12.3 %", "1.3 s", "Sunday 22 November 2026"),
        ("fr", "1 234 567,05 DA", "1 234 567", "12,3 %", "1,3 s", "dimanche 22 novembre 2026"),
        ("ar", "1.234.567,05 د.ج.", "1.234.567", "12,3 %", "1,3 ث", "الأحد، 22 نوفمبر 2026"),
    ],
)
def test_numbers_and_days_are_written_as_the_language_does(
    language: str, money: str, many: str, ratio: str, time: str, day: str
) -> None:
    words = words_of(language)

    def visible(text: str) -> str:
        """Spaces of all kinds are spaces; marks of direction and joining are none."""
        return re.sub("[\u200c\u200e\u200f]", "", re.sub("[\u00a0\u202f]", " ", text))

    assert visible(words.value(123_456_705, Unit.MINOR, "DZD")) == money
    assert visible(words.value(1_234_567, Unit.COUNT, "DZD")) == many
    assert visible(words.value(1_234, Unit.BASIS_POINTS, "DZD")) == ratio
    assert visible(words.value(1_250, Unit.MILLISECONDS, "DZD")) == time
    assert visible(words.day(date(2026, 11, 22))).replace(",", "") == day


@pytest.mark.parametrize("value", [-1_234_567, 1_234_567])
@pytest.mark.parametrize("unit", Unit)
def test_in_arabic_a_sign_and_a_percent_stay_with_their_number(value: int, unit: Unit) -> None:
    written = words_of("ar").value(value, unit, "DZD")

    # a sign, the digits and a percent are one run to the right; before a unit in Arabic letters the text runs left
    bare = re.sub("\u200e[-+−]?[\\d.,]+(\u00a0%)?\u200e", "", written)
    assert not re.search("[-+−%]", bare), ascii(written)
    assert written.startswith("\u200f") == bool(re.search("[\u0621-\u064a]", written))
    assert re.sub("[\u200e\u200f]", "", written).startswith("-") == (value < 0)


@pytest.mark.parametrize("language", ["fr", "ar"])
def test_values_of_enumerations_are_in_the_language_of_the_page(language: str) -> None:
    words, english = words_of(language), words_of("en")
    statements = (TRANSLATIONS.parents[1] / "seeding" / "insert_statements.py").read_text()
    seeded = {value for values in re.findall(r"ARRAY\[(.*?)\]", statements) for value in re.findall("'(.*?)'", values)}
    known = {
        *Status,
        *(seeded - {"chargily", "satim"}),
        "pending",
        "processing",
        "completed",
        "failed",
        "cancelled",
        "card",
        "cash",
        "cheque",
    }

    assert len(known) > 20
    assert [key for key in sorted(known) if words.key("", key) in (key, english.key("", key))] == []
    assert words.key("", "a_newer_value") == "a_newer_value"


@pytest.mark.parametrize(
    ("language", "said"), [("en", "debts taken off"), ("fr", "dettes déduites"), ("ar", "بعد خصم الديون")]
)
def test_the_label_of_all_wallets_says_that_debts_are_taken_off(language: str, said: str) -> None:
    assert said in words_of(language).number("wallets", "total")
    assert said not in words_of(language).number("wallets", "credit")


def test_the_first_day_of_a_month_is_an_ordinal_in_french_alone() -> None:
    first, eleventh = date(2026, 11, 1), date(2026, 11, 11)
    found = [words_of("fr").day(day, form) for day in (first, eleventh) for form in ("full", "long", "medium")]

    assert [" ".join(one.split()) for one in found] == [
        *("dimanche 1er novembre 2026", "1er novembre 2026", "1er nov. 2026"),
        *("mercredi 11 novembre 2026", "11 novembre 2026", "11 nov. 2026"),
    ]
    assert "1 November" in words_of("en").day(first)


@pytest.mark.parametrize("language", LANGUAGES)
def test_net_sales_are_not_called_revenue(language: str) -> None:
    words = words_of(language)
    names = {
        name: words.number("revenue", name) for name in ("net", "by_chapter", "by_teacher", "net_to_date", "earned")
    }
    revenue = {"en": "revenue", "fr": "affaires", "ar": "رقم الأعمال"}[language]

    assert [name for name, text in names.items() if revenue in text.lower()] == ["earned"]


@pytest.mark.parametrize(
    ("language", "payouts"), [("en", "recorded payouts"), ("fr", "reversements saisis"), ("ar", "التحويلات المسجلة")]
)
def test_what_providers_owe_says_that_it_knows_recorded_payouts_alone(language: str, payouts: str) -> None:
    for name in ("clearing", "clearing_by_provider"):
        assert payouts in words_of(language).number("payments", name)


@pytest.mark.parametrize(
    ("language", "status", "too"),
    [
        ("en", "completed", "later refunded ones too"),
        ("fr", "abouti", "remboursés ensuite compris"),
        ("ar", "مكتمل", "ومنها ما استُرد لاحقًا"),
    ],
)
def test_completed_payments_say_that_refunded_ones_are_among_them_and_statuses_that_they_are_not(
    language: str, status: str, too: str
) -> None:
    words = words_of(language)
    for name in ("completed", "completed_by_provider", "completed_by_method", "completed_to_date"):
        assert too in words.number("payments", name), name
    assert words.key("status", "completed").lower() == status
    for key in ("refunded", "partially_refunded", "disputed", "charged_back"):
        assert words.key("status", key).lower().startswith(f"{status} ثم" if language == "ar" else f"{status}, "), key
    (section,) = (one for one in SECTIONS if one.name == "payments")
    by_status = next(one for one in section.numbers if one.name == "started_by_status")
    assert words.key("status", "completed") in words.definition(section, by_status)[0]


@pytest.mark.parametrize(
    ("value", "unit", "english", "french"),
    [
        (1_309_000, Unit.MILLISECONDS, "22 min", "22 min"),
        (999, Unit.MILLISECONDS, "999 ms", "999 ms"),
        (9_000_000, Unit.MILLISECONDS, "2.5 h", "2,5 h"),
        (66_919_400_000, Unit.BYTES, "67 GB", "67 Go"),
        (1_500, Unit.BYTES, "1.5 kB", "1,5 ko"),
        (0, Unit.BYTES, "0 B", "0 o"),
        (59, Unit.MINUTES, "59 min", "59 min"),
        (90_000, Unit.MINUTES, "1,500 h", "1 500 h"),
        (1_234, Unit.MINOR, "TND 1.234", "1,234 TND"),
    ],
)
def test_durations_sizes_and_amounts_are_in_the_unit_that_a_person_uses(
    value: int, unit: Unit, english: str, french: str
) -> None:
    found = [words_of(language).value(value, unit, "TND") for language in ("en", "fr")]
    assert [re.sub("[\u00a0\u202f]", " ", one) for one in found] == [english, french]


def test_a_chapter_has_its_name_beside_its_id_and_its_rows_behind_its_number(library: Library) -> None:
    html = page(library, "?lang=en").text

    assert "Suites and series (1)" in html
    assert "Teacher 14" in html
    assert f'href="rows?day={LAST}&amp;lang=en&amp;number=revenue.by_chapter&amp;key=1"' in html
    assert f'href="rows?day={LAST}&amp;lang=en&amp;number=revenue.net"' in html
    assert "number=subscriptions.nrr_30" not in html


def test_a_section_that_failed_says_why_and_the_others_are_shown(library: Library) -> None:
    html = page(library, f"?day={FAILED}&lang=en").text

    assert f"This section could not be counted: {REASON}" in html
    assert 'id="d-revenue.net"' in html
    assert 'id="d-users.total"' not in html


def test_a_sparkline_breaks_off_where_nothing_is_known_and_stays_in_its_frame() -> None:
    found = sparkline([None, 5, 9, None, -3, 7])

    assert found is not None
    assert (found.low, found.high) == (-3, 9)
    assert found.line.count("M") == 2
    numbers = [float(number) for number in re.findall(r"[\d.]+", found.line)]
    assert all(0 <= x <= WIDTH for x in numbers[::2])
    assert all(0 <= y <= HEIGHT for y in numbers[1::2])


@pytest.mark.parametrize("values", [[], [None], [3], [None, 3, None]])
def test_one_value_makes_no_line(values: list[int | None]) -> None:
    assert sparkline(values) is None


def test_a_line_that_does_not_move_lies_in_the_middle() -> None:
    found = sparkline([4, 4, 4])

    assert found is not None
    assert found.end[1] == HEIGHT / 2


def test_the_latest_page_is_that_of_the_latest_day(library: Library) -> None:
    assert words_of("fr").day(LAST) in page(library, "?lang=fr").text
