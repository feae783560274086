"""`python -m local.console_screenshots`: the console's pictures for the documentation, of the stack that runs here.

Run `make demo` before, so that there is something to see.
"""

import os
from pathlib import Path

import click
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import title_contains
from selenium.webdriver.support.wait import WebDriverWait

from local.browser import open_browser, set_size
from local.errors import LocalError
from local.stack import Stack
from local.statistics_screenshots import IMAGES

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
        with open_browser() as browser:
            _enter(browser, settings["CONSOLE_URL"], settings["NOUBA_CONSOLE_OPERATOR_TOKENS"])
            for name, (path, height) in PAGES.items():
                set_size(browser, WIDTH, height)
                browser.get(settings["CONSOLE_URL"] + path)
                browser.save_screenshot(str(folder / f"{name}.png"))
                click.echo(folder / f"{name}.png", err=True)
    except LocalError as error:
        raise click.ClickException(str(error)) from error


def _enter(browser: webdriver.Chrome, address: str, token: str) -> None:
    browser.get(address)
    browser.find_element(By.NAME, "token").send_keys(token)
    browser.find_element(By.CSS_SELECTOR, ".door button").click()
    WebDriverWait(browser, _READY_SECONDS).until(title_contains("Overview"))


if __name__ == "__main__":
    console_pictures()
