"""`python -m local.console_screenshots`: the console's pictures for the documentation, of the stack that runs here.

Run `make demo` before, so that there is something to see.
"""

import os
import tempfile
from pathlib import Path

import click
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import title_contains
from selenium.webdriver.support.wait import WebDriverWait

from local.errors import LocalError
from local.installers.chromium import FLAGS, find_driver, find_program
from local.screenshots import IMAGES
from local.stack import Stack

WIDTH = 1280
#: The name of a picture, the page, and its height.
PAGES = {
    "console": ("/", 800),
    "console-webhook": ("/webhooks?state=undecided", 360),
    "console-lessons": ("/lessons", 420),
    "console-dead": ("/dead", 560),
}
_READY_SECONDS = 20


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=IMAGES, show_default=True, help="Where they go.")
def console_pictures(folder: Path) -> None:
    """Enter as an operator, and take a picture of some pages."""
    try:
        settings = Stack(os.environ).environment()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="nouba-browser-") as profile:
            browser = _browser(Path(profile))
            try:
                _enter(browser, settings["CONSOLE_URL"], settings["NOUBA_CONSOLE_OPERATOR_TOKENS"])
                for name, (path, height) in PAGES.items():
                    size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
                    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                    browser.get(settings["CONSOLE_URL"] + path)
                    browser.save_screenshot(str(folder / f"{name}.png"))
                    click.echo(folder / f"{name}.png", err=True)
            finally:
                browser.quit()
    except LocalError as error:
        raise click.ClickException(str(error)) from error


def _browser(profile: Path) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = str(find_program())
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(str(find_driver())))


def _enter(browser: webdriver.Chrome, address: str, token: str) -> None:
    browser.get(address)
    browser.find_element(By.NAME, "token").send_keys(token)
    browser.find_element(By.CSS_SELECTOR, ".door button").click()
    WebDriverWait(browser, _READY_SECONDS).until(title_contains("Overview"))


if __name__ == "__main__":
    console_pictures()
