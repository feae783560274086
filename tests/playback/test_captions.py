"""Captions that a teacher sends are in the lesson within seconds: Chromium shows Arabic ones from a signed address."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.transcoder.hls.lint.check import check
from tests.playback.test_browser import TOKEN, School
from tests.playback.test_browser import player as player  # a fixture
from tests.playback.test_browser import school as school  # a fixture
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.conftest import film as film  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.jobs.player import Player
from tests.transcoder.jobs.test_encrypted import add_paid_course
from tests.transcoder.jobs.test_playback import hls_js as hls_js  # a fixture

ARABIC = "1\n00:00:01,000 --> 00:00:04,000\nمرحبا بكم في الدرس 1\n\n2\n00:00:05,000 --> 00:00:13,000\nانكسار الضوء\n"
#: The texts of the captions that a page shows now.
SHOWN = (
    "[...video.textTracks].filter(track => track.mode === 'showing')"
    ".flatMap(track => [...(track.activeCues || [])]).map(cue => cue.text)"
)
FRENCH = "WEBVTT\n\n00:01.000 --> 00:04.000\nBonjour\n"


def captions(school: School, course_id: int, method: str, language: str, body: str = "") -> httpx.Response:
    return httpx.request(
        method,
        f"{school.gateway_url}/api/v1/courses/{course_id}/captions/{language}",
        content=body.encode(),
        headers={"Authorization": f"Bearer {TOKEN}"},
    )


def shown(school: School, course_id: int) -> dict[str, Any]:
    address = f"{school.gateway_url}/api/v1/courses/{course_id}/video"
    return dict(httpx.get(address, headers={"Authorization": f"Bearer {TOKEN}"}).json())


@pytest.mark.slow
def test_arabic_captions_of_an_encrypted_lesson_are_shown_in_chromium(
    bench: Bench, school: School, film: Path, player: Player
) -> None:
    # Given captions that came before the lesson was whole
    course_id, _ = bench.submit(film, add_paid_course(bench))
    assert captions(school, course_id, "PUT", "ar", ARABIC).json() == {"language": "ar", "cues": 2}
    with bench.worker():
        bench.wait_for(course_id)
        bench.wait(lambda: "/master-" in (shown(school, course_id)["master_key"] or ""), "no captions are shown")

        # Then they are in the lesson, beside its sound and picture, and every rule holds
        url = school.address(course_id)
        assert [finding.message for finding in check(url).errors] == []
        player.open(url)
        assert player._do("hls.subtitleTracks.map(track => [track.lang, track.name])") == [["ar", "العربية"]]
        player._do("void (hls.subtitleTrack = 0, hls.subtitleDisplay = true)")
        for second, text in ((2.0, "مرحبا بكم في الدرس 1"), (11.0, "انكسار الضوء")):
            player.seek(second, 0)
            player._do(f"until(() => ({SHOWN}).includes({json.dumps(text)}), 20)")
        assert player.seen()["errors"] == []

        # When another language comes, the first is corrected, and one is taken away
        first = shown(school, course_id)["master_key"]
        assert captions(school, course_id, "PUT", "fr", FRENCH).status_code == 200
        bench.wait(lambda: shown(school, course_id)["master_key"] != first, "the new captions are not shown")
        assert shown(school, course_id)["captions"] == [
            {"language": "ar", "automatic": False},
            {"language": "fr", "automatic": False},
        ]
        player.open(school.address(course_id))
        assert player._do("hls.subtitleTracks.map(track => track.lang)") == ["ar", "fr"]
        assert captions(school, course_id, "DELETE", "fr").status_code == 200
        # what was the same before has the same name again
        bench.wait(lambda: shown(school, course_id)["master_key"] == first, "the captions are still shown")
        assert captions(school, course_id, "DELETE", "fr").status_code == 404

        # And an address of before still plays
        player.open(url)


def test_what_is_no_caption_is_refused_and_nothing_is_kept(bench: Bench, school: School) -> None:
    course_id = bench.add_course()

    for language, body, code in (
        ("ar", "no captions", "bad_captions"),
        ("arabic language", FRENCH, "bad_captions"),
        ("../x", FRENCH, "not_found"),
    ):
        answer = captions(school, course_id, "PUT", language, body)
        assert (answer.status_code, answer.json()["code"]) == (404 if code == "not_found" else 400, code)
    assert captions(school, course_id + 1, "PUT", "ar", ARABIC).status_code == 404
    assert bench.scalar("SELECT count(*) FROM captions") == 0
