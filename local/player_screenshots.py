"""`python -m local.player_screenshots`: the picture of the player for the documentation, of the stack that runs here.

Run `make demo` before, so that there is a lesson with captions.
"""

import os
from pathlib import Path

import click
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from sqlalchemy import create_engine, text

from local.browser import open_browser, set_size
from local.errors import LocalError
from local.stack import Stack
from local.statistics_screenshots import IMAGES

SIZE = (1000, 660)
LANGUAGE = "ar"
#: Where in the lesson: its second caption.
AT_SECONDS = 6.2
_READY_SECONDS = 30
_NEWEST = text("SELECT max(course_id) FROM captions JOIN courses ON courses.id = course_id WHERE language = :language")
_CAPTION = "return [...video.textTracks].some(track => track.mode === 'showing' && track.activeCues?.length)"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=IMAGES, show_default=True, help="Where it goes.")
def player_picture(folder: Path) -> None:
    """Play the newest lesson with Arabic captions, and make player.png."""
    try:
        settings = Stack(os.environ).environment()
        course_id = _newest_course(settings["NOUBA_DATABASE_URL"])
        folder.mkdir(parents=True, exist_ok=True)
        with open_browser() as browser:
            wait = WebDriverWait(browser, _READY_SECONDS)
            set_size(browser, *SIZE)
            browser.get(f"{settings['PLAYER_URL']}/courses/{course_id}?captions={LANGUAGE}")
            browser.find_element(By.CSS_SELECTOR, ".big").click()
            wait.until(lambda page: page.execute_script("return video.currentTime > 0"))
            browser.execute_script(f"video.pause(); video.currentTime = {AT_SECONDS}")
            wait.until(lambda page: page.execute_script("return !video.seeking && video.readyState >= 2"))
            wait.until(lambda page: page.execute_script(_CAPTION))
            browser.save_screenshot(str(folder / "player.png"))
            click.echo(folder / "player.png", err=True)
    except LocalError as error:
        raise click.ClickException(str(error)) from error


def _newest_course(database_url: str) -> int:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    with engine.connect() as connection:
        found = connection.scalar(_NEWEST, {"language": LANGUAGE})
    if found is None:
        raise click.ClickException("No lesson has Arabic captions; run `make demo` first.")
    return int(found)


if __name__ == "__main__":
    player_picture()
