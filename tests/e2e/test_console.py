"""The operators' console in a real browser: it renews itself, is readable, and loads nothing but itself."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from local.free_port import free_port
from local.installers.axe import fetch_axe
from local.postgres import Postgres
from local.rabbitmq import RabbitMq
from services.console.i18n import catalogue
from tests.console.clients import OPERATOR
from tests.console.factories import open_school
from tests.console.oidc_server import OidcServer, running_provider
from tests.e2e.browser import FAINT_TEXTS, NARROW, WIDE, Browser
from tests.queues import delete_virtual_host, make_virtual_host
from tests.variations import variations
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, Running, new_database

PAGES = ("/", "/queues", "/dead", "/webhooks", "/webhooks/12", "/payments", "/payments/1", "/payments/2", "/wallets/7",
         "/wallets/7?at=2026-11-02T10:59", "/wallets/8", "/lessons", "/days", "/audit", "/endpoints",
         "/endpoints/3")  # fmt: skip


class RunningConsole(Running):
    """`nouba console serve`, ready for visitors."""

    def __init__(self, log: Path, database_url: str, rabbitmq: RabbitMq, rabbitmq_url: str, **more: str) -> None:
        port = int(more.get("NOUBA_CONSOLE_PORT") or free_port())
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "NOUBA_DATABASE_URL": database_url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            "NOUBA_RABBITMQ_MANAGEMENT_URL": "http://" + rabbitmq.management_url.partition("@")[2],
            "NOUBA_CONSOLE_PORT": str(port),
            "NOUBA_CONSOLE_OPERATOR_TOKENS": f"Operator in a browser:{OPERATOR}",
            **more,
        }
        super().__init__(["console", "serve"], log, settings)
        self.ready_when(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as made:
        open_school(made)
        made.execute(_SOME_WORK)
        yield made


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcServer]:
    """Knows the console by another host than its own, so that a browser takes both for two sites."""
    with running_provider(tmp_path_factory.mktemp("oidc") / "log", f"http://localhost:{free_port()}") as server:
        yield server


@pytest.fixture(scope="module")
def console(
    database: Database, rabbitmq_server: RabbitMq, provider: OidcServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningConsole]:
    rabbitmq_url = make_virtual_host(rabbitmq_server)
    log = tmp_path_factory.mktemp("console") / "log"
    oidc = {f"NOUBA_{name.upper()}": value for name, value in provider.settings().items()}
    oidc["NOUBA_CONSOLE_PORT"] = oidc["NOUBA_CONSOLE_URL"].rpartition(":")[2]
    with RunningConsole(log, database.url, rabbitmq_server, rabbitmq_url, **oidc) as running:
        yield running
    delete_virtual_host(rabbitmq_server, rabbitmq_url)


@pytest.fixture(scope="module")
def browser(console: RunningConsole, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Somebody who has entered as an operator, by the door."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.open(console.url)
    driver = browser.driver
    driver.find_element(By.NAME, "token").send_keys(OPERATOR)
    driver.find_element(By.CSS_SELECTOR, ".door button").click()
    wait_until(lambda: driver.title.startswith("Overview"), message="the door did not open")
    yield browser
    driver.quit()


_SOME_WORK = """
INSERT INTO webhook_events (provider, dedupe_key, state, reason, body, body_sha256, received_at, processed_at)
SELECT 'chargily', 'k' || n, CASE mod(n, 9) WHEN 0 THEN 'quarantined' ELSE 'applied' END,
    CASE mod(n, 9) WHEN 0 THEN 'amount differs: 250000 announced, 25000 paid' END,
    '{}', sha256('{}'), now() - make_interval(secs => n * 30), now() - make_interval(secs => n * 30 - 0.2)
FROM generate_series(1, 100) AS n;
INSERT INTO dead_letters (queue, message_id, message, actor, cause, error, arguments, attempts, died_at, death)
SELECT 'videos', 'm' || n, convert_to(jsonb_build_object('queue_name', 'videos', 'actor_name', 'videos.encode_chunk.v1',
    'args', '[]'::jsonb, 'kwargs', '{"job_id": 1, "chunk": 1}'::jsonb, 'options', '{}'::jsonb, 'message_id', 'm' || n,
    'message_timestamp', 1)::text, 'UTF8'), 'videos.encode_chunk.v1', 'retries', 'StorageAway: S3 did not answer',
    '{"job_id": 1}', 8, now(), '' FROM generate_series(1, 3) AS n;
INSERT INTO users (name, email) VALUES ('a', 'a@school.example');
INSERT INTO operator_acts (who, what, why, ids) VALUES ('Amine', 'queue.pause', 'S3 is away', '[7]');
WITH teacher AS (INSERT INTO teachers (name) VALUES ('t') RETURNING id),
chapter AS (INSERT INTO chapters (title, teacher_id, price_minor) SELECT 'c', id, 0 FROM teacher RETURNING id),
course AS (INSERT INTO courses (chapter_id, title) SELECT id, 'Fractions: a first lesson' FROM chapter RETURNING id)
INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, reason, warnings,
    created_at, finished_at)
SELECT id, 'uploads/' || n, 'e', 1000000, now(), state, reason, warnings::jsonb, now() - interval '1 hour', now()
FROM course, (VALUES (1, 'failed', 'The file holds no video.', NULL),
    (2, 'completed', NULL, '[{"code": "damaged_picture", "text": "The picture is damaged at 0:09."}]'))
    AS job (n, state, reason, warnings);
INSERT INTO webhook_endpoints (id, url, secret, enabled, disabled_because, disabled_at, event_types) OVERRIDING SYSTEM
    VALUE VALUES (4, 'https://gone.example/hook', 'whsec_hidden', false, 'gone', now(), ARRAY['payment.completed']);
INSERT INTO daily_stats (day, version, payload, etag, body_gzip, complete, watermark)
    VALUES ('2026-11-01', 1, '{"sections": {"users": {"failed": "it was away"}}}', 'e', '', false, '');
INSERT INTO daily_stats_newest (day, version, failed, checked_at) VALUES ('2026-11-01', 1, true, now());
"""
#: The Latin words of a page that are neither data, which stand isolated, nor code.
LATIN_WORDS = """
const skipped = 'bdi, code, script, style, svg rect, [dir=auto], .languages a';
const ours = text => text.replace(/\\u2068[^\\u2069]*\\u2069/g, '').match(/[A-Za-z]{2,}/g) || [];
const found = [];
const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) { const e = texts.currentNode.parentElement;
  if (!e.closest(skipped)) found.push(...ours(texts.currentNode.data)) }
for (const name of ['title', 'aria-label', 'placeholder', 'data-label', 'alt'])
  for (const e of document.querySelectorAll(`[${name}]`)) found.push(...ours(e.getAttribute(name)));
return found;
"""
VISIBLE_TEXTS = """
const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) if (!texts.currentNode.parentElement.closest('bdi, code, script, .languages a'))
  found.push(texts.currentNode.data.trim());
return found;
"""
#: The pages that a form leads to, each with what is filled in.
FORMS = {
    "/dead/preview": ("/dead", "[formaction='/dead/preview']", {}),
    "/payments/1/refund": ("/payments/1", "form[action$='/refund'] button", {"amount": "1.00", "why": "a test"}),
    "/lessons/1/ask": ("/lessons/1", "button[value=delete]", {"why": "a test"}),
}
MORE_PAGES = ("/dead/1", "/lessons/1", "/lessons/2", "/endpoints/4", "/webhooks/11", "/dead?state=replayed",
              "/payments?words=nothing", "/nothing", "/enter", "/enter/refused/group",
              "/enter/refused/settings")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("dark", variations([False, True], [False]))
def test_every_page_can_be_read_and_loads_nothing_from_elsewhere(
    console: RunningConsole, browser: Browser, path: str, dark: bool
) -> None:
    for size in (WIDE, NARROW):
        # When a page is opened
        browser.open(console.url + path, size, dark=dark)

        # Then all that is loaded is the console's, nothing is complained of, and every text stands out
        assert all(url.startswith(console.url) for url in browser.requests())
        assert browser.complaints() == []
        assert browser.driver.execute_script(FAINT_TEXTS) == []
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
        assert browser.ask("document.querySelectorAll('h1').length") == 1
        assert browser.ask(
            "[...document.querySelectorAll('input:not([type=hidden]), select, button')]"
            ".every(e => e.labels?.length || e.ariaLabel || e.textContent.trim())"
        )


@pytest.fixture(scope="module")
def axe() -> str:
    return fetch_axe()


@pytest.mark.parametrize(
    "language", [pytest.param("en", marks=pytest.mark.slow), pytest.param("fr", marks=pytest.mark.slow), "ar"]
)
def test_axe_finds_nothing_on_any_page_of_a_phone_and_no_text_is_left_in_english(
    console: RunningConsole, browser: Browser, axe: str, language: str
) -> None:
    try:
        # Given a visitor who has chosen the language
        browser.open(f"{console.url}/language/{language}", NARROW)
        found: dict[str, object] = {}
        for path in (*PAGES, *MORE_PAGES, *FORMS):
            # When a page is opened on a phone, in the light and in the dark
            _visit(browser, console.url, path)
            faults = _faults(browser, axe, language)
            # Then there is no fault of it
            if faults:
                found[path] = faults
        assert found == {}
    finally:
        browser.open(f"{console.url}/language/en")


def _visit(browser: Browser, url: str, path: str) -> None:
    page, button, fields = FORMS.get(path, (path, "", {}))
    browser.open(url + page, NARROW)
    if button:
        fill = ";".join(f"form.querySelector('[name={name}]').value = '{value}'" for name, value in fields.items())
        browser.driver.execute_script(
            f'const button = document.querySelector("{button}"), form = button.form; {fill}; form.requestSubmit(button)'
        )
        wait_until(lambda: browser.ask("location.pathname") == path, message=f"{path} did not open")
    # a page that renews itself would be replaced while axe reads it
    browser.driver.execute_script("window.renew = async () => {}")


def _faults(browser: Browser, axe: str, language: str) -> list[object]:
    driver = browser.driver
    found: list[object] = []
    if browser.ask("document.documentElement.lang") != language:
        found.append("another language")
    if not browser.ask("document.documentElement.scrollWidth <= innerWidth"):
        found.append("wider than the screen")
    if language == "ar":
        found += sorted(set(driver.execute_script(LATIN_WORDS)) - {"HLS"})
    else:
        english = {text for text, entry in catalogue("fr").items() if entry != text}
        found += sorted(english & set(driver.execute_script(VISIBLE_TEXTS))) if language == "fr" else []
    driver.execute_script(axe)
    for scheme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        wish = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})
        violations = driver.execute_async_script(
            "const done = arguments[1]; axe.run(document, arguments[0]).then(result => done(result.violations.map("
            "one => [one.id, one.nodes.map(node => node.html.slice(0, 200))])), fault => done([String(fault)]))",
            options,
        )
        found += [(scheme, *violation) for violation in violations]
    return found


def test_a_browser_signs_in_at_another_site_and_out_again(
    console: RunningConsole, provider: OidcServer, tmp_path: Path
) -> None:
    """Browsers send no `SameSite=Strict` cookie along from there, and block redirects of forms to other sites."""
    browser = Browser(tmp_path / "profile")
    driver = browser.driver
    try:
        # Given a page of the console that a stranger asks for, at the host that the provider knows
        browser.open(f"{provider.console_url}/queues", NARROW)

        # When they sign in by the provider's page
        driver.find_element(By.LINK_TEXT, "Sign in with School ID").click()
        wait_until(lambda: browser.ask("location.origin") == provider.issuer, message="the provider did not open")

        # And a page of that site that starts a sign-in gets no further than the console's page
        driver.execute_script("location.href = arguments[0]", f"{provider.console_url}/enter/oidc?to=/queues")
        wait_until(lambda: driver.title.startswith("Sign in"), message="the page of sign-in did not open")
        assert browser.ask("location.origin") == provider.console_url
        driver.find_element(By.LINK_TEXT, "Sign in with School ID").click()
        wait_until(lambda: browser.ask("location.origin") == provider.issuer, message="the provider did not open")
        driver.find_element(By.NAME, "login").send_keys("amina")
        driver.find_element(By.NAME, "password").send_keys("any", Keys.ENTER)

        # Then the page is there, for an operator
        wait_until(lambda: driver.title.startswith("Queues"), message="the page did not open")
        assert browser.texts(".visitor span") == ["Amina B. (operator)"]
        # the provider's own pages are its matter
        assert [one for one in browser.complaints() if provider.console_url in one["message"]] == []

        # When they sign out, then the provider asks, and leads back to the page of sign-in
        driver.find_element(By.CSS_SELECTOR, ".visitor button").click()
        wait_until(lambda: browser.ask("location.origin") == provider.issuer, message="the provider did not ask")
        driver.find_element(By.CSS_SELECTOR, "button[value=yes]").click()
        wait_until(lambda: driver.title.startswith("Sign in"), message="the provider did not lead back")
        browser.open(f"{provider.console_url}/queues", NARROW)
        assert driver.title.startswith("Sign in")
    finally:
        driver.quit()


def test_the_overview_renews_itself(console: RunningConsole, browser: Browser, database: Database) -> None:
    # Given the overview
    browser.open(f"{console.url}/")
    shown = "document.querySelector('.tiles b').textContent"
    before = browser.ask(shown)

    # When another webhook comes
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256)"
        " VALUES ('stripe', gen_random_uuid()::text, '{}', sha256('{}'))"
    )

    # Then it is shown without anybody doing anything
    wait_until(lambda: browser.ask(shown) == str(int(before) + 1), message="the page did not renew itself")
    assert browser.texts("#pulse")[0].startswith("Renewed at")


def test_dead_letters_are_sent_again_by_a_click(console: RunningConsole, browser: Browser, database: Database) -> None:
    # Given a page of dead letters, with all that the filter finds chosen
    browser.open(f"{console.url}/dead?queue=videos")
    driver = browser.driver
    driver.find_element(By.CSS_SELECTOR, "[name=which][value=all]").click()
    driver.find_element(By.CSS_SELECTOR, ".actions [name=why]").send_keys("S3 is back")

    # When they are sent again
    driver.find_element(By.CSS_SELECTOR, "[formaction='/dead/replay']").click()

    # Then it is said and done, and the audit names who did it
    wait_until(lambda: any("3 replayed" in flash for flash in browser.texts(".flash")), message="no flash message")
    assert database.rows("SELECT count(*) FROM outbox") == [(3,)]
    browser.open(f"{console.url}/audit")
    (line,) = [text for text in browser.texts("tbody tr") if "dead.replay" in text]
    assert "Operator in a browser" in line
    assert "S3 is back" in line


def test_support_finds_a_students_money_in_two_clicks(console: RunningConsole, browser: Browser) -> None:
    driver = browser.driver
    for size in (WIDE, NARROW):
        # Given the overview
        browser.open(f"{console.url}/", size)

        # When the payments are opened, and an e-mail address is typed where the cursor is
        driver.find_element(By.LINK_TEXT, "Payments").click()
        wait_until(lambda: driver.title.startswith("Payments"), message="the payments did not open")
        driver.switch_to.active_element.send_keys("amina@school.example", Keys.ENTER)

        # Then the wallet is there, with why a subscription waits, and its payment is a click away
        wait_until(lambda: driver.title.startswith("Wallet of user 7"), message="the wallet did not open")
        assert browser.texts(".balance b") == ["400.00 DZD"]
        assert any("2,600.00 DZD are missing" in text for text in browser.texts("td"))
        driver.find_element(By.LINK_TEXT, "1").click()
        wait_until(lambda: driver.title.startswith("Payment 1"), message="the payment did not open")


def shows(browser: Browser, selector: str, words: str = "") -> bool:
    """Whether such an element has `words`, in one read: a page that renews itself replaces what was found before."""
    found = f"[...document.querySelectorAll({selector!r})].some(e => e.textContent.includes({words!r}))"
    return bool(browser.ask(found))


def test_a_phone_shows_each_row_as_a_card_with_the_names_of_its_columns(
    console: RunningConsole, browser: Browser
) -> None:
    for path in ("/payments", "/payments/1", "/wallets/7"):
        # When a page of support is opened on a phone
        browser.open(console.url + path, NARROW)

        # Then no cell is outside of the screen, and each has a name
        assert browser.ask(
            "[...document.querySelectorAll('.rows td')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        assert browser.ask("[...document.querySelectorAll('.rows td')].every(e => e.dataset.label)")


def test_a_quarantined_webhook_is_decided_by_clicks_and_taken_back_until_it_is_booked(
    console: RunningConsole, browser: Browser, database: Database
) -> None:
    driver = browser.driver
    decision_query = "SELECT state, resolution FROM webhook_events WHERE id = 12"

    def reads(decision: tuple[str, str]) -> bool:
        return database.rows(decision_query) == [decision]

    def decide(decision: str, why: str) -> None:
        button = driver.find_element(By.CSS_SELECTOR, f"button[value={decision}]")
        button.find_element(By.XPATH, "./ancestor::form").find_element(By.NAME, "why").send_keys(why)
        button.click()

    # Given a payment that waits for a person, found from its own page
    browser.open(f"{console.url}/payments/2")
    driver.find_element(By.LINK_TEXT, "12").click()
    wait_until(lambda: driver.title.startswith("Webhook 12"), message="the webhook did not open")

    # When no reason is given, then the browser does not send the form
    driver.find_element(By.CSS_SELECTOR, "button[value=accept]").click()
    assert database.rows(decision_query) == [("quarantined", None)]

    # When it is accepted and taken back, dismissed and taken back
    for decision, becomes in (("accept", ("received", "accepted")), ("dismiss", ("quarantined", "dismissed"))):
        decide(decision, "as agreed by phone")
        wait_until(partial(reads, becomes))
        wait_until(lambda: shows(browser, "button[value=undo]"), message="the decision cannot be taken back")
        decide("undo", "the wrong student")
        wait_until(lambda: database.rows(decision_query) == [("quarantined", None)])
        wait_until(lambda: shows(browser, "button[value=accept]"), message="nothing can be decided")

    # Then the audit names who did what, and why
    browser.open(f"{console.url}/audit")
    lines = [text for text in browser.texts("tbody tr") if "webhook." in text]
    assert [line.split("webhook.")[1].split()[0] for line in lines] == ["undo", "dismiss", "undo", "accept"]
    assert all("Operator in a browser" in line for line in lines)

    # When it is booked meanwhile, then an old page takes nothing back
    browser.open(f"{console.url}/webhooks/12")
    decide("accept", "as agreed by phone")
    wait_until(lambda: shows(browser, "button[value=undo]"))
    database.execute("UPDATE webhook_events SET state = 'applied', processed_at = now() WHERE id = 12")
    decide("undo", "too late")
    wait_until(lambda: shows(browser, ".flash", "Nothing was changed"))
    assert database.rows(decision_query) == [("applied", "accepted")]


def test_a_refund_is_asked_for_by_a_click_and_a_confirmation(
    console: RunningConsole, browser: Browser, database: Database
) -> None:
    driver = browser.driver
    requests = "SELECT amount_minor, reason FROM refund_requests"

    # Given the form of a payment, filled in
    browser.open(f"{console.url}/payments/1")
    driver.find_element(By.NAME, "amount").send_keys("500.00")
    driver.find_element(By.NAME, "why").send_keys("one lesson less")
    driver.find_element(By.CSS_SELECTOR, "button.danger").click()

    # When it is sent, then it is not done before the page that asks again
    wait_until(lambda: shows(browser, "h1", "Refund 500.00 DZD?"), message="nothing was asked again")
    assert database.rows(requests) == []
    assert browser.driver.execute_script(FAINT_TEXTS) == []
    driver.find_element(By.CSS_SELECTOR, "button.danger").click()

    # Then the payment says so
    wait_until(lambda: shows(browser, ".note", "waits for a worker"), message="the payment does not say so")
    assert database.rows(requests) == [(50_000, "one lesson less")]


def test_a_lesson_moves_while_its_page_is_open(console: RunningConsole, browser: Browser, database: Database) -> None:
    # Given a lesson that is being made
    database.execute(_A_LESSON)
    browser.open(f"{console.url}/lessons")
    assert browser.ask("document.querySelector('progress').value") == 25

    # When another part of it is done
    database.execute("UPDATE transcode_chunks SET done_seconds = 60, state = 'done' WHERE number = 1")

    # Then its bar has moved
    wait_until(lambda: browser.ask("document.querySelector('progress').value") == 50, message="the bar did not move")


_A_LESSON = """
INSERT INTO teachers (name) VALUES ('t');
INSERT INTO chapters (title, teacher_id, price_minor) SELECT 'c', max(id), 0 FROM teachers;
INSERT INTO courses (chapter_id, title) SELECT max(id), 'l' FROM chapters;
INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state, duration_seconds,
    planned_at) SELECT max(id), 'uploads/1', 'e', 1000000, now(), 'encoding', 240, now() FROM courses;
INSERT INTO transcode_chunks (job_id, kind, number, state, due_at, done_seconds)
SELECT max(id), 'video', n, CASE n WHEN 0 THEN 'done' ELSE 'waiting' END, now(), CASE n WHEN 0 THEN 60 ELSE 0 END
FROM transcode_jobs, generate_series(0, 3) AS n GROUP BY n;
"""
