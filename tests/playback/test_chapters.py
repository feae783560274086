"""Chapters that a teacher sends are in the lesson within seconds, and on the player's seek bar."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from services.transcoder.hls.lint.check import check
from tests.e2e.browser import Browser
from tests.playback.test_browser import TOKEN, School
from tests.playback.test_browser import school as school  # a fixture
from tests.playback.test_player import browser as browser  # a fixture
from tests.playback.test_player import page as page  # a fixture
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.encoding.test_carried import carrying
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.waiting import wait_until

ARABIC = [{"start_seconds": 2.5, "title": "انكسار الضوء"}, {"start_seconds": 0, "title": "مقدمة"}]


def ask(school: School, course_id: int, method: str, chapters: Any = None, raw: bytes | None = None) -> httpx.Response:
    url = f"{school.gateway_url}/api/v1/courses/{course_id}/video/chapters"
    sent = raw if raw is not None else None if chapters is None else json.dumps({"chapters": chapters}).encode()
    return httpx.request(method, url, content=sent, headers={"Authorization": f"Bearer {TOKEN}"})


def published(school: School, course_id: int) -> list[tuple[float, str]]:
    """Start and title of each chapter that players find in the course's lesson."""
    url = school.address(course_id)
    lines = [line for line in httpx.get(url).text.splitlines() if "com.apple.hls.chapters" in line]
    if not lines:
        return []
    (line,) = lines
    listed = httpx.get(url.rpartition("/")[0] + "/" + line.split('URI="')[1].rstrip('"')).json()
    return [(one["start-time"], one["titles"][0]["title"]) for one in listed]


def test_chapters_of_the_api_take_the_place_of_the_uploads_and_are_on_the_seek_bar(
    bench: Bench, school: School, page: str, browser: Browser, tmp_path: Path
) -> None:
    # Given chapters that came before the lesson, one of them after its end, and an upload that has its own
    course_id = bench.add_course()
    late = {"start_seconds": 3000, "title": "late"}
    answer = ask(school, course_id, "PUT", [*ARABIC, late])
    assert answer.status_code == 200, answer.text
    assert [one["title"] for one in answer.json()["chapters"]] == ["مقدمة", "انكسار الضوء", "late"]
    bench.submit(carrying(tmp_path, "mkv", "srt"), course_id)
    with bench.worker():
        bench.wait_for(course_id)
        bench.wait(lambda: "/master-" in (bench.course(course_id)[1] or ""), "no chapters are shown")

        # Then those within the lesson are in its master, in order, and its manifest is beside it
        assert published(school, course_id) == [(0, "مقدمة"), (2.5, "انكسار الضوء")]
        shown = ask(school, course_id, "GET").json()
        assert shown == {"source": "api", "chapters": sorted(ARABIC, key=lambda one: float(str(one["start_seconds"])))}
        url = school.address(course_id)
        assert [finding.message for finding in check(url).errors] == []
        assert httpx.get(url.replace("/master", "/manifest").replace(".m3u8", ".mpd")).status_code == 200

        # And the player marks where the second begins, and names it
        browser.open(f"{page}/{course_id}")
        wait_until(lambda: browser.ask("document.querySelectorAll('.marks i').length") == 1, 20, "nothing is marked")
        lasts = browser.ask("video.duration")
        assert browser.ask("parseFloat(find('.marks i').style.left)") == pytest.approx(100 * 2.5 / lasts, abs=0.1)
        seek = browser.driver.find_element(By.NAME, "position")
        ActionChains(browser.driver).move_to_element_with_offset(seek, seek.size["width"] // 2 - 4, 0).perform()
        assert browser.texts(".preview b") == ["انكسار الضوء"]
        options = browser.ask("[...find('[name=chapter]').options].map(one => one.text)")
        # each title isolated: an option holds no element
        assert options == ["-", "0:00 \u2068مقدمة\u2069", "0:02 \u2068انكسار الضوء\u2069"]

        # When an empty list is sent, then none are shown; without the API's, those of the upload are back
        assert ask(school, course_id, "PUT", []).status_code == 200
        bench.wait(lambda: published(school, course_id) == [], "the chapters are still shown")
        answer = ask(school, course_id, "DELETE")
        assert answer.json()["source"] == "upload"
        uploads = [(one["start_seconds"], one["title"]) for one in answer.json()["chapters"]]
        assert len(uploads) == 3
        bench.wait(lambda: published(school, course_id) == uploads, "the upload's chapters are not shown")
        assert ask(school, course_id, "DELETE").json()["code"] == "unknown_chapters"

        # And the video's deletion deletes them
        assert ask(school, course_id, "PUT", ARABIC).status_code == 200
        video = f"{school.gateway_url}/api/v1/courses/{course_id}/video"
        assert httpx.delete(video, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 202
        assert ask(school, course_id, "GET").json()["source"] != "api"
        assert bench.scalar("SELECT count(*) FROM course_chapters") == 0


def test_chapters_that_no_player_can_show_are_refused_and_nothing_is_kept(bench: Bench, school: School) -> None:
    course_id = bench.add_course()
    with bench.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO transcode_jobs (course_id, source_key, source_etag, source_bytes, uploaded_at, state,"
            " duration_seconds) VALUES (%s, 'uploads/x', 'e', 1, now(), 'encoding', 600)",
            (course_id,),
        )
    one = {"start_seconds": 0, "title": "one"}
    for chapters, word in (
        ([one, one], "begin at 0"),
        ([{"start_seconds": 600, "title": "at the end"}], "ends at 600"),
        ([{"start_seconds": -1, "title": "before"}], "start_seconds"),
        ([{"start_seconds": "3", "title": "text"}], "start_seconds"),
        ([{"start_seconds": 3, "title": "  "}], "title"),
        ([{"start_seconds": 3, "title": "x" * 201}], "title"),
        ([{"start_seconds": 3, "title": "a\nb"}], "title"),
        # U+202E was here: a title loses it now, as copied Arabic comes with such characters
        ([{"start_seconds": 3, "title": "a\x9bb"}], "title: Remove control characters"),
        ([{"start_seconds": 3, "title": "\u200f\u200b"}], "title: Nothing of it would be seen"),
        ([{"start_seconds": number, "title": "x"} for number in range(501)], "chapters"),
        ([{"start_seconds": 3, "title": "x", "end": 4}], "end"),
    ):
        answer = ask(school, course_id, "PUT", chapters)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_chapters"), answer.text
        assert word in answer.json()["detail"]
    for raw in (b"", b"[]", b'{"chapters": [{"start_seconds": NaN, "title": "x"}]}', b'{"chapters": null}'):
        assert ask(school, course_id, "PUT", raw=raw).status_code == 400
    assert ask(school, course_id + 1, "PUT", [one]).status_code == 404
    assert ask(school, course_id, "GET").json() == {"source": "none", "chapters": []}
    assert bench.scalar("SELECT count(*) FROM course_chapters") == 0
