"""The demonstration's page in Chromium: what it shows, that it resumes, renews its address, and how fast it starts."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg2
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from werkzeug.serving import make_server

from local.player import site as player_site
from local.player.site import create_site
from services.stats.days import ONE_DAY, Days
from services.stats.sections.lessons import compute as count_lessons
from tests.e2e.browser import Browser
from tests.playback.test_browser import TOKEN, School
from tests.playback.test_browser import school as school  # a fixture
from tests.playback.test_captions import ARABIC, FRENCH, SHOWN, captions
from tests.stats.school import RULES, query_of
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.harness import Bench, make_film
from tests.waiting import wait_until

ZONE = ZoneInfo("Africa/Algiers")
#: The next request for an address waits for a call of `answer()`.
HOLD_THE_ADDRESS = """(() => {
    const send = window.fetch;
    window.fetch = async (...request) => {
        if (String(request[0]).endsWith('/address')) {
            await { then: go => { window.answer = go; } };
            window.fetch = send;
        }
        return send(...request);
    };
})()"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(school: School) -> Iterator[str]:
    """The address of the pages, course by course."""
    server = make_server("127.0.0.1", 0, create_site(school.gateway_url, TOKEN), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.port}/courses"
    server.shutdown()


def state(browser: Browser) -> dict[str, Any]:
    return dict(
        browser.ask(
            "{time: video.currentTime, duration: video.duration, paused: video.paused, rate: video.playbackRate,"
            " poster: video.poster, message: message.textContent, ...seen}"
        )
    )


def click(browser: Browser) -> None:
    browser.driver.find_element(By.CSS_SELECTOR, ".big").click()


def first_frame_ms(browser: Browser) -> float:
    return float(wait_until(lambda: state(browser)["firstFrameMs"], 30, "no picture came"))


def test_the_page_plays_previews_resumes_and_renews(
    bench: Bench, school: School, page: str, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a course without a lesson, which the page says
    course_id = bench.add_course()
    browser.open(f"{page}/{course_id}")
    assert "no lesson yet" in state(browser)["message"]

    # When it has one, with captions
    bench.submit(make_film(tmp_path / "film.mp4", seconds=60), course_id)
    assert captions(school, course_id, "PUT", "ar", ARABIC).status_code == 200
    assert captions(school, course_id, "PUT", "fr", FRENCH).status_code == 200
    with bench.worker():
        bench.wait_for(course_id, timeout_seconds=120)
        bench.wait(lambda: "/master-" in (bench.course(course_id)[1] or ""), "no captions are shown")
    monkeypatch.setattr(player_site, "TTL_SECONDS", 30)
    browser.open(f"{page}/{course_id}")
    click(browser)

    # Then it plays with poster and storyboard, at another speed
    assert first_frame_ms(browser) > 0
    wait_until(lambda: state(browser)["time"] > 0.5, 20, "it does not play")
    assert state(browser)["poster"].endswith("poster.jpg")
    assert state(browser)["board"] == 30
    seek = browser.driver.find_element(By.NAME, "position")
    ActionChains(browser.driver).move_to_element(seek).perform()
    assert browser.texts(".preview span") == [browser.ask("clock(video.duration * 0.5)")]
    assert "storyboard_000.jpg" in browser.ask("find('.still').style.background")
    browser.ask("(() => { const one = find('[name=speed]'); one.value = '1.5'; one.onchange({target: one}) })()")
    assert state(browser)["rate"] == 1.5

    # and with captions in the language that its viewer chooses
    assert browser.ask("[...find('[name=captions]').options].map(one => one.text)") == ["off", "العربية", "Français"]
    assert browser.ask(SHOWN) == []
    browser.ask("(() => { const one = find('[name=captions]'); one.value = '0'; one.onchange({target: one}) })()")
    browser.ask("video.currentTime = 2")
    wait_until(lambda: browser.ask(SHOWN) == ["مرحبا بكم في الدرس 1"], 20, "no caption is shown")

    # And after its address has ended, it gets another one and goes on, also where play is pressed in between
    browser.ask("video.pause()")
    browser.ask(HOLD_THE_ADDRESS)  # it may ask before the seek: a paused player goes on loading
    renewed = state(browser)["renewed"]
    wait_until(lambda: httpx.get(browser.ask("master")).status_code == 403, 60, "the address has no end")
    browser.ask("video.currentTime = 45")
    wait_until(lambda: browser.ask("typeof window.answer === 'function'"), 30, "no other address is asked for")
    click_play(browser)
    browser.ask("answer()")
    wait_until(lambda: state(browser)["time"] > 45.2, 30, "it does not go on")
    assert state(browser)["renewed"] == renewed + 1
    assert state(browser)["message"] == ""

    # And another visit resumes it, with the same captions; an address can name others
    browser.open(f"{page}/{course_id}")
    wait_until(lambda: state(browser)["time"] > 40, 20, "it does not resume")
    assert browser.texts(".resumed")[0].startswith("Resumed at 0:")
    assert browser.ask("hls.subtitleTracks[hls.subtitleTrack].lang") == "ar"
    browser.open(f"{page}/{course_id}?captions=fr")
    wait_until(lambda: browser.ask("hls.subtitleTrack") == 1, 20, "the captions are not chosen")
    wait_until(lambda: state(browser)["time"] > 40, 20, "it does not resume")  # that would undo an earlier seek
    browser.ask("video.currentTime = 2")
    wait_until(lambda: browser.ask(SHOWN) == ["Bonjour"], 20, "no French is shown")


@pytest.mark.slow
def test_what_the_page_played_is_counted_as_a_lesson_watched(
    bench: Bench, page: str, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a student who opens a lesson of 20 seconds
    with closing(psycopg2.connect(bench.environment["NOUBA_DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO users DEFAULT VALUES RETURNING id")
            (student,) = cursor.fetchone() or (0,)
        monkeypatch.setattr(player_site, "VIEWER", str(student))
        course_id, _ = bench.submit(make_film(tmp_path / "film.mp4", seconds=20))
        with bench.worker():
            bench.wait_for(course_id, timeout_seconds=120)
        browser.open(f"{page}/{course_id}")

        # When its first seconds play, then a jump is made, and the last ones play to the end
        click(browser)
        wait_until(lambda: state(browser)["time"] > 3, 30, "it does not play")
        played = browser.ask("(() => { const before = video.currentTime; video.currentTime = 12; return before })()")
        wait_until(lambda: browser.ask("video.ended"), 40, "it does not end")

        # Then the address took the report for this student, and the statistics count what was played, and no more
        def counted() -> list[tuple[date, dict[str, Any]]]:
            today = datetime.now(UTC).date()
            # a test may run over midnight
            days = count_lessons(query_of(connection), Days(today - ONE_DAY, today + ONE_DAY, ZONE), RULES)
            return [(day, numbers) for day, numbers in days.items() if course_id in keys(numbers["by_course"])]

        (day, numbers), *more = wait_until(counted, 30, "no view is counted")
        if not more:
            assert numbers["by_course"][str(course_id)] == numbers["finished_by_course"].get(str(course_id), 0) + 1
            seconds = numbers["watch_time_by_course"][str(course_id)] / 1000
            assert abs(seconds - (played + 8)) < 1.5, "what was played before the jump, and 8 seconds to the end"
        with connection.cursor() as cursor:
            cursor.execute("SELECT user_id, viewer, bit_count(parts) FROM lesson_views WHERE day = %s", (day,))
            assert [row[:2] for row in cursor] == [(student, str(student))]


def keys(by_course: Any) -> set[int]:
    return {int(key) for key in by_course}


def click_play(browser: Browser) -> None:
    browser.driver.find_element(By.CSS_SELECTOR, ".play").click()
