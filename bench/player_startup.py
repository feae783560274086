"""A lesson's startup time in a browser: from the click to the first frame, on this machine and on a slow line."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from bench.measures import Measure, Options, Show, alternate
from bench.running import NOUBA, Process, running
from local.browser import open_browser
from local.free_port import HOST, free_port

_TOKEN = "a-token-of-the-benchmark"  # noqa: S105
_SECRET = "a-secret-that-signs-addresses-in-the-benchmark"  # noqa: S105
#: Milliseconds of delay and bits a second; None is this machine's own.
LINES: Mapping[str, tuple[int, int] | None] = {"localhost": None, "4 Mbit/s and 100 ms": (100, 4_000_000)}
_GOALS = {"localhost": "at most 150 ms", "4 Mbit/s and 100 ms": "at most 1,500 ms"}
#: The page loads playlists and first segments before the click; the other one has nothing but itself and hls.js.
_PAGES = {"the player's page": "", "without what it loads before the click": "?preload=none"}
_WAIT_SECONDS = 60


def measure(part: str, options: Options, settings: Mapping[str, str], course_id: int, show: Show) -> Iterator[Measure]:
    """`settings` are those of the servers that have the lesson of `course_id`."""
    with contextlib.ExitStack() as stack:
        site = _serve(settings, options.folder, stack)
        browser = stack.enter_context(open_browser())
        for line, limits in LINES.items():
            contenders = {
                page: lambda query=query, limits=limits: _first_frame_ms(
                    browser, f"{site}/courses/{course_id}{query}", limits
                )
                for page, query in _PAGES.items()
            }
            found = alternate(options.rounds, contenders, show)
            name = f"click to first frame in Chromium, {line}"
            yield Measure(part=part, name=name, unit="ms", samples=found, goal=_GOALS[line], digits=0)


def _serve(given: Mapping[str, str], folder: Path, stack: contextlib.ExitStack) -> str:
    """Start what a viewer needs: gateway, playback and the school's page, whose address is returned."""
    ports = {name: free_port() for name in ("gateway", "playback", "player")}
    address = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
    settings = {
        **given,
        "NOUBA_API_TOKENS": _TOKEN,
        "NOUBA_PLAYBACK_SECRETS": _SECRET,
        "NOUBA_PLAYBACK_URL": address["playback"],
        "NOUBA_PLAYBACK_PORT": str(ports["playback"]),
        "NOUBA_GATEWAY_PORT": str(ports["gateway"]),
        "NOUBA_LOCAL_PLAYER_PORT": str(ports["player"]),
        "GATEWAY_URL": address["gateway"],
        "NOUBA_PSP_GENERIC_SECRETS": _SECRET,
    }
    commands: dict[str, list[str | Path]] = {
        "gateway": [NOUBA, "gateway", "serve"],
        "playback": [NOUBA, "playback", "serve"],
        "player": [sys.executable, "-m", "local.player"],
    }
    for name, command in commands.items():
        process = stack.enter_context(running(command, settings, folder / f"{name}.log"))
        _wait(process, f"{address[name]}/healthz")
    return address["player"]


def _wait(process: Process, address: str) -> None:
    def answers() -> bool:
        try:
            return httpx.get(address).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    process.wait(answers, "did not answer")


def _first_frame_ms(browser: webdriver.Chrome, url: str, line: tuple[int, int] | None) -> float:
    wait = WebDriverWait(browser, _WAIT_SECONDS, poll_frequency=0.05)
    browser.execute_cdp_cmd("Network.enable", {})
    # hls.js is in the cache, as it is after the first lesson; the lesson is not
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    _emulate(browser, None)
    browser.get(url.partition("/courses")[0] + "/player/hls.min.js")
    _emulate(browser, line)
    browser.get(url)
    browser.execute_script("localStorage.clear()")
    if "preload" not in url:
        wait.until(lambda page: _ask(page, "video.readyState >= 2"))
    browser.find_element(By.CSS_SELECTOR, ".big").click()
    return float(wait.until(lambda page: _ask(page, "seen.firstFrameMs")))


def _ask(browser: webdriver.Chrome, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def _emulate(browser: webdriver.Chrome, line: tuple[int, int] | None) -> None:
    latency_ms, bits = line or (0, 0)
    rate = bits / 8 if bits else -1
    limits = {"offline": False, "latency": latency_ms, "downloadThroughput": rate, "uploadThroughput": rate}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", limits)
