"""Options that operators' commands share: times, operator, JSON."""

import contextlib
import getpass
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared.runtime.database import build_engine
from shared.runtime.logs import describe
from shared.runtime.settings import DatabaseSettings, read_settings
from shared.runtime.visible_text import visible

#: Columns of a table that goes to a file or a pipe.
WIDTH_WITHOUT_TERMINAL = 200
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
E = TypeVar("E", bound=Exception)


class Instant(click.ParamType[datetime]):
    """`2026-11-23`, `2026-11-23T14:00`, both of this machine's zone unless they name another, or `90m` ago."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        if ago := re.fullmatch(r"(\d+)([smhd])", value):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        try:
            return datetime.fromisoformat(value).astimezone()
        except ValueError:
            self.fail(
                f"{value!r} is no instant; write 2026-11-23, 2026-11-23T14:00 or, for ago, 30m, 2h, 7d", param, ctx
            )


def actor_option(command: F) -> F:
    """The operator, for the audit log: the account of this machine by default."""
    return click.option(
        "--actor-name", default=_login_name, show_default="your login name", help="The operator, for the audit log."
    )(command)


def json_option(command: F) -> F:
    """For a program instead of a person."""
    return click.option("--json", "as_json", is_flag=True, help="For programs.")(command)


def cell(text: str) -> Text:
    """A cell of a table, in which rich reads no markup."""
    return Text(visible(text))


def table_console() -> Console:
    """Where tables go: as wide as the terminal, and wide enough for every column where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_WITHOUT_TERMINAL)


@contextmanager
def operators_database(application: str) -> Iterator[Engine]:
    """The database of NOUBA_DATABASE_URL; what it refuses becomes a sentence."""
    url = read_settings(DatabaseSettings).database_url.get_secret_value()
    engine = build_engine(url, pool_size=1, application=application, statement_timeout_ms=60_000)
    try:
        yield engine
    except SQLAlchemyError as error:
        raise click.ClickException(
            f"PostgreSQL did not do it ({describe(error)}). Is it up, and `nouba migrate` run?"
        ) from error
    finally:
        engine.dispose()


def watch_until_interrupted(read: Callable[[], T], every_seconds: float, known: type[E]) -> Iterator[T | E]:
    """Yield what `check` returns, or its error of the type `known`, every `every_seconds` until Ctrl-C or SIGTERM.

    Checks in a thread, so that Ctrl-C ends it at once even while a server does not answer. A KeyboardInterrupt would
    be raised anywhere in a library, and may be swallowed there.
    """
    # a signal handler may write to no other queue: it could wait for a lock that this thread holds
    found: queue.SimpleQueue[T | BaseException | None] = queue.SimpleQueue()

    def read_on() -> None:
        while True:
            try:
                found.put(read())
            except BaseException as error:  # noqa: BLE001 - raised again where it is read
                found.put(error)
            time.sleep(every_seconds)

    before = {number: signal.signal(number, lambda *_: found.put(None)) for number in (signal.SIGINT, signal.SIGTERM)}
    threading.Thread(target=read_on, name="watch", daemon=True).start()
    try:
        # a wait without a timeout would not be ended by a signal that another thread receives
        while (news := _next_of(found)) is not None:
            if isinstance(news, BaseException) and not isinstance(news, known):
                raise news
            yield news
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _next_of(found: "queue.SimpleQueue[Any]") -> Any:
    while True:
        with contextlib.suppress(queue.Empty):
            return found.get(timeout=0.2)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # an account of a container may have a number alone
        return f"uid {os.getuid()}"
