"""Chromium without a window, steered by chromedriver: for pictures and measurements of our own pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from local.installers.chromium import FLAGS, find_driver, find_program


@contextmanager
def open_browser() -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own. Raises NotInstalledError where there is none."""
    with TemporaryDirectory(prefix="nouba-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(find_program())
        for flag in (*FLAGS, f"--user-data-dir={Path(profile)}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=Service(str(find_driver())))
        try:
            yield browser
        finally:
            browser.quit()


def set_size(browser: webdriver.Chrome, width: int, height: int) -> None:
    """The size of the page, and with it of its picture."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
