"""A page with hls.js in Chromium, and the bucket behind it: what a student's browser does with a lesson."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from local.installers.chromium import FLAGS, find_driver, find_program
from services.transcoder.storage.s3 import Storage

_PAGE = b"""<!doctype html><title>lesson</title><video muted playsinline width=640></video><script src=/hls.js></script>
<script>
const video = document.querySelector('video'), seen = {errors: [], levels: []};
const hls = new Hls({enableWorker: false});
// a seek breaks off what is being loaded, and hls.js reports that too
hls.on(Hls.Events.ERROR, (_, data) => { if (data.details !== Hls.ErrorDetails.INTERNAL_ABORTED)
  seen.errors.push(data.details + ': ' + (data.error || data.reason || ''));
  if (data.fatal) seen.fatal = data.details });
hls.on(Hls.Events.FRAG_BUFFERED, (_, data) => { if (data.frag.type === 'main') seen.levels.push(data.frag.level) });
const until = (ready, seconds) => new Promise((resolve, reject) => {
  const end = performance.now() + 1000 * seconds;
  const fail = what => reject(new Error(what + ': ' + ready + ' at ' + video.currentTime + ' ' +
    JSON.stringify(seen.errors)));
  const check = () => ready() ? resolve() : seen.fatal ? fail('given up after ' + seen.fatal) :
    performance.now() > end ? fail('not in time') : setTimeout(check, 20);
  check() });
async function open(url) {
  hls.loadSource(url); hls.attachMedia(video);
  await until(() => video.readyState >= 3 && video.duration > 0, 30); await video.play();
  return {duration: video.duration, levels: hls.levels.length, sounds: hls.audioTracks.length} }
async function seek(second, level) {
  hls.nextLevel = level; video.currentTime = second;
  await until(() => !video.seeking && video.readyState >= 3, 20);
  const from = video.currentTime;
  await until(() => video.currentTime > from + 0.2 || video.ended, 20) }
</script>"""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A player that goes elsewhere breaks off what it was loading; anything else it would complain of."""


@contextmanager
def site(storage: Storage, script: bytes, give_key: Callable[[str], tuple[int, bytes]] | None = None) -> Iterator[str]:
    """The address of a site that shows the bucket's objects as they are, with the page in front.

    Below `/keys/` it answers what `give_key` has for the rest of the path: a student may watch, and needs a key.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/":
                self._answer(200, {"Content-Type": "text/html"}, _PAGE)
            elif path == "/hls.js":
                self._answer(200, {"Content-Type": "text/javascript"}, script)
            elif give_key and path.startswith("/keys/"):
                status, key = give_key(path.removeprefix("/keys/"))
                self._answer(status, {"Content-Type": "application/octet-stream"}, key)
            else:
                self._object(path.removeprefix("/"))

        def _object(self, key: str) -> None:
            wanted = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
            try:
                found = storage.client.get_object(Bucket=storage.bucket, Key=key, **wanted)  # type: ignore[arg-type]
            except ClientError:
                self._answer(404, {}, b"")
                return
            headers = {"Content-Type": found["ContentType"]}
            if found.get("ContentEncoding"):
                headers["Content-Encoding"] = found["ContentEncoding"]
            self._answer(206 if wanted else 200, headers, found["Body"].read())

        def _answer(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Player:
    """One page in Chromium."""

    def __init__(self, address: str, profile: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(find_program())
        for flag in (*FLAGS, f"--user-data-dir={profile}", "--autoplay-policy=no-user-gesture-required"):
            options.add_argument(flag)
        self._driver = webdriver.Chrome(options=options, service=Service(str(find_driver())))
        self._driver.set_script_timeout(60)
        self._address = address

    def open(self, master: str) -> dict[str, Any]:
        """Play a master playlist, by its key or its address, on a fresh page; what the player knows of it."""
        self._driver.get(self._address)
        return dict(self._do(f"open({json.dumps(master if '://' in master else '/' + master)})"))

    def seek(self, second: float, level: int) -> None:
        """Go to a moment, in one of the qualities, and see that the film goes on there."""
        self._do(f"seek({second}, {level})")

    def seen(self) -> dict[str, Any]:
        """Errors, and the qualities of the segments that were played."""
        return dict(self._do("seen"))

    def close(self) -> None:
        self._driver.quit()

    def _do(self, script: str) -> Any:
        done = self._driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async () => ({{value: await {script}}}))().then(done, error => done({{error: String(error)}}))"
        )
        assert "error" not in done, done["error"]
        return done.get("value")
