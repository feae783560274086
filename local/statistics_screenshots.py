"""`python -m local.statistics_screenshots`: the dashboard's pictures, of a made-up school in a temporary database.

The pages are real: seeded, computed, served, and shown by Chromium. With `--serve` people read them themselves.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import httpx

from local.errors import CannotStartError, LocalError
from local.free_port import HOST, free_port
from local.installers.chromium import FLAGS, find_program
from local.postgres import Postgres

PROJECT = Path(__file__).parent.parent
IMAGES = PROJECT / "docs" / "images"
#: The school's zone, whose yesterday is the newest day.
ZONE = "Africa/Algiers"
#: So many days are computed: the school year until the newest day, and the month that it is compared with.
DAYS = 400
_READY_SECONDS = 30


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), default=IMAGES, show_default=True, help="Where they go.")
@click.option("--serve", is_flag=True, help="Take no pictures: serve the page until Ctrl-C.")
def pictures(folder: Path, serve: bool) -> None:
    """Make statistics.png, and with it the same page in Arabic."""
    try:
        if serve:
            _serve()
            return
        browser = find_program()
        with tempfile.TemporaryDirectory(prefix="nouba-pictures-") as scratch, _database(Path(scratch)) as url:
            _fill(url)
            with _served(url) as address:
                folder.mkdir(parents=True, exist_ok=True)
                _take(browser, f"{address}/?lang=en", folder / "statistics.png", (1280, 1180))
                _take(browser, f"{address}/?lang=ar", folder / "statistics-ar.png", (1280, 1180), dark=True)
    except LocalError as error:
        raise click.ClickException(str(error)) from error


def _serve() -> None:
    with tempfile.TemporaryDirectory(prefix="nouba-pictures-") as scratch, _database(Path(scratch)) as url:
        _fill(url)
        with _served(url) as address:
            click.echo(f"{address}/  (Ctrl-C ends it)")
            # SIGTERM ends the server and the database as well
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with suppress(KeyboardInterrupt):
                signal.pause()


@contextmanager
def _database(scratch: Path) -> Iterator[str]:
    server = Postgres(scratch / "postgres", durable=False)
    try:
        server.start()
        yield server.url
    finally:
        server.destroy()


def _fill(url: str) -> None:
    last = datetime.now(UTC).astimezone(ZoneInfo(ZONE)).date() - timedelta(days=1)
    _nouba(url, "migrate")
    _nouba(url, "stats", "seed", "--size", "small")
    _nouba(url, "stats", "compute", str(last - timedelta(days=DAYS)), str(last))


def _nouba(url: str, *arguments: str) -> None:
    click.echo(f"nouba {' '.join(arguments)}", err=True)
    result = subprocess.run([_program(), *arguments], env=_settings(url), capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CannotStartError(f"`nouba {' '.join(arguments)}` failed: {(result.stderr or result.stdout).strip()}")


@contextmanager
def _served(url: str) -> Iterator[str]:
    port = free_port()
    address = f"http://{HOST}:{port}"
    settings = {**_settings(url), "NOUBA_STATS_PORT": str(port), "NOUBA_STATS_PROCESSES": "1"}
    server = subprocess.Popen([_program(), "stats", "api"], env=settings, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise CannotStartError("`nouba stats api` did not answer.")
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/stats/latest").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _take(browser: Path, address: str, picture: Path, size: tuple[int, int], *, dark: bool = False) -> None:
    with tempfile.TemporaryDirectory(prefix="nouba-browser-") as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}"]
        if dark:
            flags.append("--blink-settings=preferredColorScheme=0")
        subprocess.run([browser, *flags, address], capture_output=True, timeout=60, check=True)
    click.echo(picture, err=True)


def _settings(url: str) -> dict[str, str]:
    """The environment without the settings of the caller."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("NOUBA_")}
    return {**others, "NOUBA_DATABASE_URL": url, "NOUBA_TIMEZONE": ZONE}


def _program() -> Path:
    return Path(sys.executable).with_name("nouba")


if __name__ == "__main__":
    pictures()
