"""The console in three languages: which one a visitor gets, and that each text has its translations."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from flask import Flask

from services.console.i18n import (
    WORDS,
    catalogue,
    isolated,
    message_of,
    translate,
    translate_count,
    translate_html,
    word,
    write_instant,
    write_money,
)
from services.console.payments import PAYMENT_STATES
from services.console.read_routes import EVENT_STATES, LESSON_STATES, SPANS
from services.console.template_filters import ago, duration, money
from shared.operations.dead_letters.queries import STATES
from shared.operations.webhook_endpoints.endpoints import DELIVERY_STATES
from shared.runtime.currency import Money
from shared.runtime.languages import LANGUAGES
from shared.runtime.translatable_sentence import Sentence, join
from shared.runtime.visible_text import finalize
from tests.console.clients import Person, console_of
from tests.console.factories import bury, keep_event
from tests.console.messages import ROOT, TEMPLATES, messages, texts_outside_of_the_catalogue
from tests.webhook_gateway.processes import Database

TRANSLATED = sorted(set(LANGUAGES) - {"en"})
#: No server is asked: these pages and errors need none.
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def app() -> Flask:
    return console_of(NOWHERE, "amqp://nobody@127.0.0.1:1")


@pytest.mark.parametrize("language", TRANSLATED)
def test_each_text_is_translated_and_no_translation_is_left_over(language: str) -> None:
    assert set(catalogue(language)) ^ messages() == set()


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_values_and_the_elements_of_its_text(language: str) -> None:
    for text, entry in catalogue(language).items():
        for form in (entry,) if isinstance(entry, str) else entry.values():
            assert set(_tags(form)) == set(_tags(text)), text
            # "one event" needs no number
            left_out = set(_values(text)) - set(_values(form))
            assert set(_values(form)) <= set(_values(text)), text
            assert left_out <= ({"n"} if not isinstance(entry, str) else set()), text


def _values(text: str) -> list[str]:
    return re.findall(r"%\((\w+)\)s|\{(\w+)\}", text) and re.findall(r"(?:%\(|\{)(\w+)", text)


def _tags(text: str) -> list[str]:
    return re.findall(r"<[^>]+>", text)


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_each_plural_form_of_its_language(language: str) -> None:
    forms = {"fr": {"one", "many", "other"}, "ar": {"zero", "one", "two", "few", "many", "other"}}[language]
    for text, entry in catalogue(language).items():
        assert isinstance(entry, str) or set(entry) == forms, text


@pytest.mark.parametrize("template", sorted(path.name for path in TEMPLATES.glob("*.html")))
def test_a_template_says_nothing_that_the_catalogue_has_not(template: str) -> None:
    assert texts_outside_of_the_catalogue(TEMPLATES / template) == []


def test_a_route_says_nothing_that_the_catalogue_has_not() -> None:
    said = {"flash": 0, "abort": 1, "_fault": 2}
    for path in (ROOT / "services/console").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in said:
                for text in call.args[said[call.func.id] :]:
                    # an f-string has no mark of the console's own text; flashed text gets it back in base.html
                    assert call.func.id == "flash" or not isinstance(text, ast.JoinedStr), f"{path.name}:{call.lineno}"
                    assert not isinstance(text, ast.Constant), f"{path.name}:{call.lineno} is not translated"
                    fixed = [one.value for one in getattr(text, "values", ()) if isinstance(one, ast.Constant)]
                    assert not re.search(r"[a-z]", "".join(map(str, fixed))), f"{path.name}:{call.lineno}"


def test_each_state_that_a_page_shows_is_a_word_of_the_catalogue() -> None:
    shown = (*PAYMENT_STATES, *EVENT_STATES, *LESSON_STATES, *STATES, *DELIVERY_STATES, *SPANS)

    assert {state.replace("_", " ") for state in shown} <= set(WORDS)


@pytest.mark.parametrize(
    ("accepts", "language", "direction"),
    [
        ("", "en", "ltr"),
        ("de-DE, de;q=0.9", "en", "ltr"),
        ("fr-DZ, en;q=0.5", "fr", "ltr"),
        ("ar", "ar", "rtl"),
        ("de, ar-DZ;q=0.8, fr;q=0.9", "fr", "ltr"),
    ],
)
def test_the_browser_asks_for_a_language(app: Flask, accepts: str, language: str, direction: str) -> None:
    answer = Person(app, headers={"Accept-Language": accepts}).get("/enter")

    assert f'<html lang="{language}" dir="{direction}">' in answer.text
    assert answer.headers["Content-Language"] == language


def test_a_link_of_the_page_changes_the_language_for_good(app: Flask) -> None:
    # Given a browser that asks for French
    person = Person(app, headers={"Accept-Language": "fr"})
    page = person.read("/enter?to=/payments")
    assert "Votre jeton" in page

    # When the link to Arabic is followed
    (link,) = re.findall(r'href="(/language/ar[^"]*)"', page)
    answer = person.get(link.replace("&amp;", "&"))

    # Then it leads back to the same page, which is in Arabic from now on
    assert answer.location == "/enter?to=/payments"
    assert 'dir="rtl"' in person.read("/enter")
    assert "nouba_language=ar; " in answer.headers["Set-Cookie"]
    assert "HttpOnly" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "to",
    ["https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example", "//[x", "/\t\\elsewhere.example"],
)
def test_the_link_leads_to_no_other_site(app: Flask, to: str) -> None:
    assert Person(app).get(f"/language/fr?to={quote(to)}").location == "/"


@pytest.mark.parametrize("path", ["/player/player.js", "/static/console.css", "/language/ar", "/healthz"])
def test_files_and_languages_need_no_database(app: Flask, path: str) -> None:
    # Given a browser with a session, and a database that is away
    client = app.test_client()
    with client.session_transaction() as session:
        session["id"] = "of a session"
    assert client.get("/queues").status_code == 503

    # When the player's script, or another of these, is asked for, then it answers
    assert client.get(path).status_code in (200, 302)


def test_there_is_no_fourth_language(app: Flask) -> None:
    assert Person(app).get("/language/de").status_code == 404
    assert '<html lang="en"' in Person(app, headers={"Cookie": "nouba_language=de"}).get("/enter").text


@pytest.mark.parametrize(
    ("language", "title"), [("en", "Not Found"), ("fr", "Introuvable"), ("ar", "غير موجود")], ids=["en", "fr", "ar"]
)
def test_an_error_is_said_in_the_language(app: Flask, language: str, title: str) -> None:
    answer = Person(app, headers={"Accept-Language": language}).get("/nothing")

    assert answer.status_code == 404
    assert f"<h1>{title}</h1>" in answer.text


def test_an_action_answers_in_the_language(database_url: str, rabbitmq_url: str, database: Database) -> None:
    # Given an operator who reads French, a letter and an event
    person = Person(console_of(database_url, rabbitmq_url), headers={"Accept-Language": "fr"})
    person.enter()
    letter, event = bury(database, 1), keep_event(database, "applied", "payment 1 is completed")

    # When they act
    person.send("/dead", "/dead/replay", which="ticked", id=str(letter))
    done = person.read("/dead")
    person.send("/dead", f"/webhooks/{event}/resolve", decision="accept", why="test")

    # Then what was done and why not is said in French, what the database holds as it is
    page = person.read(f"/webhooks/{event}")
    assert "1 relancé." in done
    assert f"le webhook {event} est appliqué\u00a0: on ne décide que de ce qui est en quarantaine" in page
    assert "payment 1 is completed" in page


def test_marks_of_direction_in_arabic_messages_are_not_shown_as_escapes(database_url: str, rabbitmq_url: str) -> None:
    # Given an operator who reads Arabic
    person = Person(console_of(database_url, rabbitmq_url), headers={"Accept-Language": "ar"})
    person.enter()

    # When a queue is paused, and one that is not there
    person.send("/queues", "/queues/videos/pause")
    done = person.read("/queues")
    refused = person.send("/queues", "/queues/nothing/pause").text

    # Then both names stand apart from the sentence, and the marks around them are not seen
    assert "\u2068videos\u2069" in done
    assert "\u2068&#39;nothing&#39;\u2069" in refused
    assert "\\u20" not in done + refused


@pytest.fixture
def arabic(app: Flask) -> Iterator[None]:
    with app.test_request_context(headers={"Accept-Language": "ar"}):
        yield


@pytest.fixture
def french(app: Flask) -> Iterator[None]:
    with app.test_request_context(headers={"Accept-Language": "fr"}):
        yield


@pytest.mark.usefixtures("arabic")
def test_arabic_counts_in_six_forms() -> None:
    counts = (0, 1, 2, 3, 11, 100)
    said = [translate_count("%(n)s event is sent again.", "%(n)s events are sent again.", n) for n in counts]

    assert len({text.replace(str(n), "") for text, n in zip(said, counts, strict=True)}) == 6
    assert "11" in said[4]


@pytest.mark.usefixtures("arabic")
def test_what_people_typed_stands_apart_in_a_right_to_left_sentence() -> None:
    assert "\u2068Amine\u2069" in translate("%(at)s by %(who)s", at="now", who="Amine")
    assert str(word("unheard_of")) == "<bdi>unheard of</bdi>"
    assert "&lt;script&gt;" in translate_html("Queue %(name)s is paused.", name="<script>")


@pytest.mark.usefixtures("arabic")
def test_what_strangers_wrote_does_not_leave_its_place() -> None:
    # Given text that ends the isolate around it, turns what follows, and rings
    text = "a\u2069\u202eb\x07"

    # Then it is shown as escapes, whereas our own marks stay
    shown = "a\\u2069\\u202eb\\x07"
    assert f"\u2068{shown}\u2069" in translate("%(at)s by %(who)s", at="now", who=text)
    assert shown in translate_html("Queue %(name)s is paused.", name=text)
    assert str(isolated(text)) == f"<bdi>{shown}</bdi>"
    assert "\\u" not in money(-1000, "DZD") + ago(datetime.now(UTC)) + duration(-5.0)
    assert finalize(message_of(ValueError(text))) == f"\u2068{shown}\u2069"


@pytest.mark.usefixtures("french")
def test_french_writes_amounts_and_times_as_algeria_does() -> None:
    assert write_money(250_000, "DZD") == "2\u202f500,00\u00a0DA"
    assert write_money(2_500_000, "TND", with_sign=True).startswith("+2\u202f500,000")
    assert write_instant(datetime(2026, 11, 3, 9, 5, 1, tzinfo=UTC)) == "03/11/2026 09:05:01"


@pytest.mark.usefixtures("french")
def test_a_sentence_of_an_operation_is_translated_with_all_that_it_holds() -> None:
    # Given what an operation says
    refused = Sentence("Of payment %(id)s %(left)s can be refunded.", id=7, left=Money(1000, "DZD"))
    said = Sentence("Nothing was changed: %(reason)s", reason=refused)

    # Then it is English to everybody else, and French here
    assert said == "Nothing was changed: Of payment 7 10.00 DZD can be refunded."
    assert translate(said) == "Rien n’a été modifié\u00a0: Du paiement 7, 10,00\u00a0DA peuvent être remboursés."


@pytest.mark.usefixtures("french")
def test_the_amounts_of_an_events_postings_are_written_in_the_language() -> None:
    said = join([Sentence("%(account)s %(amount)s", account="wallet", amount=Money(250_000, "DZD", with_sign=True))])

    assert said == "wallet +2,500.00 DZD"
    assert translate(said) == "wallet +2\u202f500,00\u00a0DA"


def test_english_is_what_it_was(app: Flask) -> None:
    with app.test_request_context():
        assert write_money(250_000, "DZD") == "2,500.00 DZD"
        assert word("partially_refunded") == "partially refunded"
