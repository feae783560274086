"""The statistics' page in a real browser: nothing but itself is loaded, and everybody can read it."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise, product
from zoneinfo import ZoneInfo

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from local.postgres import Postgres
from services.stats.api.dashboard.rows_page import ROWS_SHOWN
from services.stats.api.dashboard.view_model import is_for_operators
from services.stats.days import yesterday
from services.stats.sections import SECTIONS
from tests.e2e.browser import FAINT_TEXTS, NARROW, WIDE, Browser
from tests.stats.api.processes import RunningApi
from tests.stats.api.snapshots import keep
from tests.variations import variations
from tests.waiting import wait_until
from tests.webhook_gateway.processes import new_database

LAST = yesterday(datetime.now(UTC), ZoneInfo("Africa/Algiers"))
LANGUAGES = ("en", "fr", "ar")


@pytest.fixture(scope="module")
def api(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with new_database(migrated_server) as database:
        keep(database.url, LAST - timedelta(days=40), LAST)
        registered = "INSERT INTO users (created_at) SELECT %s FROM generate_series(1, 300)"
        database.execute(registered, datetime.combine(LAST, time(11), UTC))
        api = RunningApi(tmp_path_factory.mktemp("stats") / "log", database.url, NOUBA_STATS_PROCESSES="1")
        yield api
        api.kill()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_request_brings_all_of_it_and_nothing_is_complained_of(
    api: RunningApi, browser: Browser, language: str
) -> None:
    url = f"{api.url}/?lang={language}"

    browser.open(url)

    assert browser.requests() == [url]
    assert browser.complaints() == []
    assert browser.ask("document.documentElement.lang") == language
    assert browser.ask("document.documentElement.dir") == ("rtl" if language == "ar" else "ltr")
    assert browser.ask("getComputedStyle(document.body).direction") == ("rtl" if language == "ar" else "ltr")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_section_and_number_is_there_to_see(api: RunningApi, browser: Browser, language: str) -> None:
    browser.open(f"{api.url}/?lang={language}")

    shown = browser.ask("[...document.querySelectorAll('.sections > section')].map(section => section.id)")
    numbers = [
        (section, number)
        for section in SECTIONS
        for number in section.numbers
        if not is_for_operators(section.name, number.name)
    ]
    assert shown == list(dict.fromkeys(section.name for section, _ in numbers))
    assert len(browser.texts(".cards .big")) == 7
    assert all(browser.texts(".cards .big"))
    plain = sum(number.by is None for _, number in numbers)
    assert len([text for text in browser.texts(".numbers tbody .value") if text]) == plain
    assert browser.ask("document.querySelectorAll('.numbers .spark .line').length") == plain
    assert browser.ask("document.querySelectorAll('.breakdown').length") == sum(bool(n.by) for _, n in numbers)


def test_arabic_begins_at_the_right(api: RunningApi, browser: Browser) -> None:
    cells = "['.numbers tbody th', '.numbers tbody .value']"
    edges = f"{cells}.map(cell => document.querySelector(cell).getBoundingClientRect().left)"

    browser.open(f"{api.url}/?lang=ar")
    name, value = browser.ask(edges)
    assert name > value

    browser.open(f"{api.url}/?lang=fr")
    name, value = browser.ask(edges)
    assert name < value


@pytest.mark.parametrize(
    "display", variations(product(LANGUAGES, (False, True)), [("fr", False), ("ar", True)]), ids=str
)
def test_text_stands_out_and_nothing_is_wider_than_a_phone(
    api: RunningApi, browser: Browser, display: tuple[str, bool]
) -> None:
    language, dark = display
    for size in (WIDE, NARROW):
        browser.open(f"{api.url}/?lang={language}", size, dark=dark)

        faint = browser.driver.execute_script(FAINT_TEXTS)
        assert faint == []
        assert browser.ask("[document.documentElement.scrollWidth, innerWidth]") == [size[0], size[0]]
        page = browser.ask("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, page.strip("rgb()").split(","))) < 150) == dark


@pytest.mark.parametrize(
    "display", variations(product((WIDE, NARROW), LANGUAGES), [(WIDE, "en"), (NARROW, "ar")]), ids=str
)
def test_a_number_leads_to_its_rows_and_they_lead_back(
    api: RunningApi, browser: Browser, display: tuple[tuple[int, int], str]
) -> None:
    size, language = display
    browser.open(f"{api.url}/?lang={language}", size)
    browser.driver.find_element(By.CSS_SELECTOR, "a.rows[href$='number=users.new']").click()
    wait_until(lambda: browser.ask("location.pathname") == "/rows", 10)

    assert browser.complaints() == []
    assert browser.driver.execute_script(FAINT_TEXTS) == []
    assert browser.ask("[document.documentElement.scrollWidth, innerWidth]") == [size[0], size[0]]
    assert browser.ask("document.querySelectorAll('tbody tr').length") == ROWS_SHOWN
    browser.driver.find_element(By.CSS_SELECTOR, "[rel=next]").click()
    wait_until(lambda: browser.ask("document.querySelectorAll('tbody tr').length") == 300 - ROWS_SHOWN, 10)

    browser.driver.find_element(By.CSS_SELECTOR, ".back a").click()
    wait_until(lambda: browser.ask("location.pathname") == "/", 10)
    assert browser.ask("location.hash") == "#users.new"
    assert browser.ask("document.documentElement.lang") == language


def test_links_are_underlined_and_tooltips_dotted(api: RunningApi, browser: Browser) -> None:
    browser.open(f"{api.url}/?lang=en")
    style = "(one => [one.textDecorationLine, one.textDecorationStyle])(getComputedStyle(document.querySelector('{}')))"

    for link in ("a.rows", ".card h3 a", ".contents a", ".languages a:not([aria-current])"):
        assert browser.ask(style.format(link)) == ["underline", "solid"], link
    for tooltip in (".name", "abbr"):
        assert browser.ask(style.format(tooltip)) == ["underline", "dotted"], tooltip
    colours = (
        "[...document.querySelectorAll('.numbers a.rows, .numbers .name')].map(one => getComputedStyle(one).color)"
    )
    assert len(set(browser.ask(colours))) == 2


# where a character stands in the text of an element, from the left
PLACES = """
const [selector, sign] = arguments, found = [];
for (const one of document.querySelectorAll(selector)) {
  const text = one.firstChild, at = [...text.data].findIndex(c => sign.includes(c)), digit = text.data.search(/[0-9]/);
  if (at < 0) continue;
  const left = place => { const range = document.createRange();
    range.setStart(text, place); range.setEnd(text, place + 1);
    return range.getBoundingClientRect().left };
  found.push(left(at) - left(digit)) }
return found;
"""


def test_in_arabic_signs_stand_left_of_numbers_and_units_too(api: RunningApi, browser: Browser) -> None:
    browser.open(f"{api.url}/?lang=ar")

    def places(selector: str, sign: str) -> list[float]:
        found: list[float] = browser.driver.execute_script(PLACES, selector, sign)
        assert found, (selector, sign)
        return found

    assert all(place < 0 for place in places(".change bdi", "+−"))
    assert all(place > 0 for place in places(".change bdi", "%"))
    for unit in ("د", "نقطة"[0]):
        assert all(place < 0 for place in places(".numbers bdi:not(.of bdi)", unit)), unit


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_a_definition_is_shown_to_the_keyboard_and_to_the_mouse(
    api: RunningApi, browser: Browser, size: tuple[int, int]
) -> None:
    browser.open(f"{api.url}/?lang=en", size)
    name = browser.driver.find_element(By.CSS_SELECTOR, "[aria-describedby='d-revenue.net']")
    definition = browser.driver.find_element(By.ID, "d-revenue.net")
    assert not definition.is_displayed()

    before = browser.driver.find_elements(By.CSS_SELECTOR, ".contents a")[-1]
    browser.driver.execute_script("arguments[0].focus()", before)
    before.send_keys(Keys.TAB)

    assert browser.driver.switch_to.active_element == name
    assert definition.is_displayed()
    assert definition.text == SECTIONS[0].numbers[0].definition
    assert name.text == "Sales, net"
    box = definition.rect
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= size[0]


def test_what_a_screen_reader_needs_is_there(api: RunningApi, browser: Browser) -> None:
    browser.open(f"{api.url}/?lang=fr")
    browser.driver.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")

    levels = browser.ask("[...document.querySelectorAll('h1, h2, h3')].map(heading => Number(heading.tagName[1]))")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    count = "document.querySelectorAll('{}').length".format
    assert browser.ask(count("th:not([scope])")) == 0
    assert browser.ask(count("table:not(:has(caption))")) == 0
    assert browser.ask(count("svg:not([aria-hidden]):not([aria-label])")) == 0
    assert browser.ask(count("main")) == 1
    assert browser.ask("[...document.querySelectorAll('nav')].every(nav => nav.ariaLabel)")
    unnamed = [
        element.tag_name
        for element in browser.driver.find_elements(By.CSS_SELECTOR, "a, button, input:not([type=hidden])")
        if not element.accessible_name
    ]
    assert unnamed == []


def test_the_first_key_leads_past_the_head(api: RunningApi, browser: Browser) -> None:
    browser.open(f"{api.url}/?lang=en")

    browser.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)

    assert browser.driver.switch_to.active_element.text == "Skip to the numbers"
    assert browser.driver.switch_to.active_element.rect["y"] >= 0


def test_links_and_the_form_lead_to_other_days_and_languages(api: RunningApi, browser: Browser) -> None:
    browser.open(f"{api.url}/?lang=en")

    browser.driver.find_element(By.CSS_SELECTOR, "[rel=prev]").click()
    wait_until(lambda: browser.driver.current_url.endswith(f"?day={LAST - timedelta(days=1)}&lang=en"))
    browser.driver.find_element(By.CSS_SELECTOR, "[hreflang=fr]").click()
    wait_until(lambda: browser.ask("document.documentElement.lang") == "fr")
    earlier = LAST - timedelta(days=30)
    browser.ask(f"document.querySelector('#day').value = '{earlier}'")
    browser.driver.find_element(By.CSS_SELECTOR, "form button").click()

    wait_until(lambda: browser.driver.current_url.endswith(f"?lang=fr&day={earlier}"))
    assert browser.ask("document.documentElement.lang") == "fr"
    assert browser.complaints() == []


def test_a_browser_shows_it_without_scripts(api: RunningApi, browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(f"{api.url}/?lang=ar")
        assert len([text for text in browser.texts(".cards .big") if text]) == 7
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
