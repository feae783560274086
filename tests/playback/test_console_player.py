"""The console's page of a lesson in Chromium: it plays, is confirmed before it is deleted, and loads nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from sqlalchemy import text

from local.rabbitmq import RabbitMq
from tests.console.clients import OPERATOR
from tests.e2e.browser import FAINT_TEXTS, Browser
from tests.e2e.test_console import RunningConsole
from tests.playback.processes import SECRET
from tests.playback.test_browser import School
from tests.playback.test_browser import school as school  # a fixture
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.conftest import film as film  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.jobs.test_encrypted import add_paid_course
from tests.waiting import wait_until

VIDEO = "document.querySelector('video')"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.driver.quit()


@pytest.mark.slow
def test_an_operator_plays_an_encrypted_and_a_plain_lesson_and_deletes_one(
    bench: Bench, school: School, film: Path, browser: Browser, rabbitmq_server: RabbitMq, tmp_path: Path
) -> None:
    # Given two lessons, one of them paid and so encrypted, and an operator who has entered
    paid, _ = bench.submit(film, add_paid_course(bench))
    course_id, _ = bench.submit(film)
    with bench.engine.begin() as connection:
        connection.execute(text("UPDATE courses SET title = 'Optics' WHERE id = :id"), {"id": course_id})
    settings = {"NOUBA_PLAYBACK_URL": school.playback_url, "NOUBA_PLAYBACK_SECRETS": SECRET.decode()}
    database_url, rabbitmq_url = bench.environment["NOUBA_DATABASE_URL"], bench.environment["NOUBA_RABBITMQ_URL"]
    console_log = tmp_path / "console.log"
    with (
        bench.worker(),
        RunningConsole(console_log, database_url, rabbitmq_server, rabbitmq_url, **settings) as console,
    ):
        pages = [f"{console.url}/lessons/{bench.wait_for(one).id}" for one in (paid, course_id)]
        driver = browser.driver
        browser.open(console.url)
        driver.find_element(By.NAME, "token").send_keys(OPERATOR)
        driver.find_element(By.CSS_SELECTOR, ".door button").click()
        wait_until(lambda: driver.title.startswith("Overview"), message="the door did not open")

        # When a lesson's page is open, then the film plays, and stays while the rest of the page renews itself
        browser.complaints()
        for page, seconds, language in zip(pages, (12, 15), ("ar", "en"), strict=True):
            browser.open(f"{console.url}/language/{language}?to={page.removeprefix(console.url)}")
            play_and_jump(browser, seconds)
            assert browser.texts(".play") == ["إيقاف مؤقت" if language == "ar" else "Pause"]
            assert browser.ask("getComputedStyle(seek).direction") == "ltr", "time runs from left to right"
            assert round(browser.ask(f"{VIDEO}.duration")) == 20
            assert browser.ask("seen.errors") == []
            assert browser.complaints() == []
            assert driver.execute_script(FAINT_TEXTS) == []
            urls = browser.requests()
            assert any(url.endswith(".key") for url in urls) == (page == pages[0]), "the paid lesson alone has a key"
            allowed = (console.url, school.playback_url, f"blob:{console.url}")
            assert [url for url in urls if not url.startswith(allowed)] == []
        assert "Optics" in browser.texts("h1")[0]

        # And a deletion is asked twice, then done by the worker
        driver.find_element(By.NAME, "why").send_keys("the teacher asked")
        driver.find_element(By.CSS_SELECTOR, "button.danger").click()
        # in one step: the page may change between finding an element and reading it
        title = "document.querySelector('h1')?.textContent"
        question = f"Delete the lessons of Optics up to job {page.rpartition('/')[2]}?"
        wait_until(lambda: browser.ask(title) == question, message="nothing was asked again")
        assert bench.course(course_id)[0] == "completed"
        driver.find_element(By.CSS_SELECTOR, "button.danger").click()
        wait_until(lambda: bench.course(course_id)[1] is None, 30, "it was not deleted")
        browser.open(page)
        assert driver.find_elements(By.TAG_NAME, "video") == []


def play_and_jump(browser: Browser, seconds: int) -> None:
    """Click, wait until it plays and the rest of the page renews itself, and go on at `seconds`."""
    browser.driver.find_element(By.CSS_SELECTOR, ".big").click()
    wait_until(lambda: browser.ask(f"{VIDEO}.currentTime") > 0.5, 30, "it does not play")
    pulse = browser.texts("#pulse")
    wait_until(lambda: browser.texts("#pulse") != pulse, 20, "the page does not renew itself")
    browser.ask(f"void ({VIDEO}.currentTime = {seconds})")
    wait_until(lambda: browser.ask(f"{VIDEO}.currentTime") > seconds + 0.5, 30, "it does not go on elsewhere")
