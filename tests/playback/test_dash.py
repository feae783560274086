"""Shaka Player in Chromium plays a private lesson's MPEG-DASH manifest by its signed address, captions included."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from werkzeug import Request, Response
from werkzeug.serving import make_server

from local.browser import open_browser
from local.installers.npm_package import fetch_file
from tests.playback.test_browser import School
from tests.playback.test_browser import school as school  # a fixture
from tests.playback.test_captions import ARABIC, SHOWN, captions
from tests.transcoder.conftest import s3_keys as s3_keys  # a fixture
from tests.transcoder.jobs.conftest import bench as bench  # a fixture
from tests.transcoder.jobs.conftest import film as film  # a fixture
from tests.transcoder.jobs.harness import Bench
from tests.transcoder.jobs.test_encrypted import add_paid_course
from tests.waiting import wait_until

VERSION = "5.2.12"
SHA512 = "vEsuVDI3+oLh+yqpjXexQZlg2XMUBI0VrqatDuKWacPaxAud6Uph5uCowUPLhUgNG5XKWCpoM4l1r8qYzWH+zg=="
PAGE = """<!doctype html><title>lesson</title><video muted playsinline width=640></video><script src=/shaka.js></script>
<script>
const video = document.querySelector('video'), player = new shaka.Player(), errors = [];
player.addEventListener('error', event => errors.push(event.detail.code));
async function open(url) { await player.attach(video); await player.load(url); await video.play() }
</script>"""


class Page:
    """A school's page with Shaka Player, on another origin than the lessons."""

    def __init__(self, browser: Any, address: str) -> None:
        self._browser, self._address = browser, address

    def open(self, manifest: str) -> None:
        self._browser.get(self._address)
        self.do(f"open({json.dumps(manifest)})")

    def seek(self, second: float) -> None:
        self.do(f"void (video.currentTime = {second})")
        self.wait(f"!video.seeking && video.currentTime > {second} + 0.2")

    def choose(self, height: int) -> None:
        """Switch to one of the qualities, and see that the film goes on in it."""
        track = f"player.getVariantTracks().find(one => one.height === {height})"
        second = self.do("video.currentTime")
        self.do(f"player.selectVariantTrack({track}, true)")
        self.wait(f"video.videoHeight === {height} && video.currentTime > {second} + 0.2")

    def wait(self, condition: str) -> None:
        wait_until(lambda: self.do(condition), 30, f"not in time: {condition}")

    def do(self, script: str) -> Any:
        done = self._browser.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async () => ({{value: await {script}}}))()"
            ".then(done, error => done({error: `${error.code || error}`}))"
        )
        assert "error" not in done, done["error"]
        return done.get("value")


@pytest.fixture
def page() -> Iterator[Page]:
    script = fetch_file("shaka-player", VERSION, sha512=SHA512, file="dist/shaka-player.dash.js")

    @Request.application
    def site(request: Request) -> Response:
        is_script = request.path == "/shaka.js"
        return Response(script if is_script else PAGE, mimetype="text/javascript" if is_script else "text/html")

    server = make_server("127.0.0.1", 0, site, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with open_browser() as browser:
        browser.set_script_timeout(60)
        yield Page(browser, f"http://127.0.0.1:{server.port}/")
    server.shutdown()


def manifest_of(address: str) -> str:
    """The manifest beside a master playlist."""
    folder, _, name = address.rpartition("/")
    return f"{folder}/{name.replace('master', 'manifest').replace('.m3u8', '.mpd')}"


@pytest.mark.slow
def test_shaka_plays_a_private_lesson_and_its_arabic_captions_from_a_signed_address(
    bench: Bench, school: School, film: Path, page: Page
) -> None:
    # Given a free lesson with captions, and a paid one, which is encrypted
    free, _ = bench.submit(film)
    paid, _ = bench.submit(film, add_paid_course(bench))
    assert captions(school, free, "PUT", "ar", ARABIC).status_code == 200
    with bench.worker():
        bench.wait_for(free)
        bench.wait_for(paid)
        bench.wait(lambda: "/master-" in (bench.course(free)[1] or ""), "no captions are shown")

    # Then the free one plays in each of its qualities, wherever a viewer goes
    manifest = manifest_of(school.address(free))
    page.open(manifest)
    assert page.do("video.duration") == pytest.approx(20, abs=0.1)
    heights = sorted(page.do("player.getVariantTracks().map(track => track.height)"))
    assert len(heights) == 2
    page.do("player.configure('abr.enabled', false)")
    for height, second in zip(heights * 2, (12.5, 3.0, 17.0, 0.5), strict=True):
        page.seek(second)
        page.choose(height)

    # and shows its captions
    assert page.do("player.getTextTracks().map(track => track.language)") == ["ar"]
    page.do("player.selectTextTrack(player.getTextTracks()[0])")
    page.seek(11)
    page.wait(f"({SHOWN}).includes('انكسار الضوء')")
    assert page.do("errors") == []

    # And no other address opens it: not one of another course, and the encrypted lesson has no manifest
    refused = manifest.replace(f"/{free}/", f"/{paid}/")
    assert httpx.get(refused).status_code == 403
    with pytest.raises(AssertionError, match="1001"):  # shaka's BAD_HTTP_STATUS
        page.open(refused)
    assert httpx.get(manifest_of(school.address(paid))).status_code == 404
