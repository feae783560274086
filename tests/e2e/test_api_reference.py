"""The page of the gateway's OpenAPI document in a real browser: readable, complete, and of nothing but itself."""

import hashlib
from collections.abc import Iterator
from itertools import product

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from local.installers.axe import fetch_axe
from local.postgres import Postgres
from services.webhook_gateway import api_docs
from shared import api_reference
from tests.e2e.browser import NARROW, WIDE, Browser
from tests.variations import variations
from tests.waiting import wait_until
from tests.webhook_gateway.processes import RunningGateway, new_database

#: Of the npm package swagger-ui-dist 5.35.0.
SHA256 = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
TOKEN = "a-token-of-the-school"
OPERATIONS = sum(len(operations) for operations in api_docs.document()["paths"].values())
#: One that reads by query, one that writes a body, and one that shows neither.
OPENED = ("listPayments", "openCheckout", "receiveWebhook")
#: WCAG 2.2, levels A and AA. Of axe's best practices, which are no part of it, Swagger UI misses two: its headings skip
#: a level (heading-order), and the tables of answers are regions of one name (landmark-unique).
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE = (
    "const done = arguments[1]; axe.run(document, {runOnly: arguments[0]}).then(result => done(result.violations.map("
    "one => [one.id, one.nodes.map(node => [node.html.slice(0, 200), node.target.join(' ')])])), "
    "fault => done([String(fault)]))"
)


@pytest.fixture(scope="module")
def gateway(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with new_database(migrated_server) as database:
        log = tmp_path_factory.mktemp("gateway") / "log"
        with RunningGateway(log, database.url, NOUBA_API_TOKENS=TOKEN) as running:
            yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    # axe reads some thousand elements, on a machine that may be busy
    browser.driver.set_script_timeout(180)
    yield browser
    browser.driver.quit()


@pytest.mark.lint
def test_swagger_ui_is_unchanged() -> None:
    for name, digest in SHA256.items():
        assert hashlib.sha256((api_reference.FOLDER / name).read_bytes()).hexdigest() == digest
    assert "Apache License" in (api_reference.FOLDER / "swagger-ui.LICENSE").read_text()


@pytest.mark.parametrize("display", variations(product((WIDE, NARROW), (False, True)), [(NARROW, True)]), ids=str)
def test_axe_finds_nothing_on_the_page_and_it_loads_nothing_from_elsewhere(
    gateway: RunningGateway, browser: Browser, display: tuple[tuple[int, int], bool]
) -> None:
    size, dark = display
    # Given the page, with some operations and a schema opened
    show(gateway, browser, size, dark=dark)
    for name in OPENED:
        open_operation(browser, name)
    open_schema(browser, "CheckoutAnswer")

    # When axe reads it
    browser.driver.execute_script(fetch_axe())
    found = browser.driver.execute_async_script(AXE, RULES)

    # Then it finds nothing, the page is no wider than the screen, and all that was loaded is the gateway's
    assert found == []
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    assert all(url.startswith(gateway.url) for url in browser.requests())
    assert browser.complaints() == []


def test_the_page_shows_every_route_with_schemas_examples_scopes_and_refusals(
    gateway: RunningGateway, browser: Browser
) -> None:
    # Given the page on a phone
    show(gateway, browser, NARROW)

    # Then each route of the document is there
    paths = browser.ask("[...document.querySelectorAll('.opblock-summary-path')].map(e => e.dataset.path)")
    assert set(paths) == set(api_docs.document()["paths"])

    # When an operation is opened, then its scope, an example of its body and each refusal are there
    open_operation(browser, "openCheckout")
    text = browser.texts("#operations-Checkouts-openCheckout")[0]
    assert "Scope: payments" in text
    assert '"amount_minor": ' in text
    refusals = api_docs.document()["paths"]["/api/v1/checkouts"]["post"]["responses"]
    shown = browser.texts("#operations-Checkouts-openCheckout tr.response .response-col_status")
    assert [status.split()[0] for status in shown] == list(refusals)


def test_a_request_is_tried_with_a_token(gateway: RunningGateway, browser: Browser) -> None:
    # Given a token that is entered
    show(gateway, browser, WIDE)
    driver = browser.driver
    driver.find_element(By.CSS_SELECTOR, ".btn.authorize").click()
    driver.find_element(By.CSS_SELECTOR, ".auth-container input").send_keys(TOKEN)
    driver.find_element(By.CSS_SELECTOR, ".auth-btn-wrapper .authorize").click()
    driver.find_element(By.CSS_SELECTOR, ".auth-btn-wrapper .btn-done").click()

    # When a route is tried
    operation = open_operation(browser, "listPayments")
    operation.find_element(By.CSS_SELECTOR, ".try-out__btn").click()
    operation.find_element(By.CSS_SELECTOR, ".btn.execute").click()

    # Then the gateway answers it
    live = "[...document.querySelectorAll('.live-responses-table .response-col_status')].map(e => e.innerText)"
    wait_until(lambda: browser.ask(live)[-1:], 30, "there is no answer")
    assert browser.ask(live)[-1].split()[0] == "200"
    assert browser.complaints() == []


def show(gateway: RunningGateway, browser: Browser, size: tuple[int, int], *, dark: bool = False) -> None:
    browser.complaints()
    browser.open(f"{gateway.url}/docs", size, dark=dark)
    shown = "document.querySelectorAll('.opblock').length"
    wait_until(lambda: browser.ask(shown) == OPERATIONS, 60, "the page does not show the document")


def open_operation(browser: Browser, name: str) -> WebElement:
    operation = browser.driver.find_element(By.CSS_SELECTOR, f".opblock[id$='-{name}']")
    operation.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
    wait_until(lambda: operation.find_elements(By.CSS_SELECTOR, ".responses-inner"), 30, f"{name} did not open")
    return operation


def open_schema(browser: Browser, name: str) -> None:
    driver = browser.driver
    driver.find_element(By.CSS_SELECTOR, ".models .models-control").click()
    title = f"//*[contains(@class, 'json-schema-2020-12__title')][text()='{name}']"
    wait_until(lambda: driver.find_elements(By.XPATH, title), 30, "the schemas did not open")
    driver.find_element(By.XPATH, f"{title}/ancestor::button").click()
    body = f"{title}/ancestor::article//*[contains(@class, 'json-schema-2020-12-property')]"
    wait_until(lambda: driver.find_elements(By.XPATH, body), 30, f"{name} did not open")
