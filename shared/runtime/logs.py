"""Structured logs for people and machines: one renderer for our code and libraries, no personal data.

Call `configure("gateway")` once, first thing. NOUBA_LOG_FORMAT=json gives a JSON object a line.
"""

import contextlib
import logging
import os
import sys
import time
import traceback
from typing import Any, TextIO, cast

import structlog
from dramatiq import Broker, Message, MessageProxy
from dramatiq.middleware import Middleware
from structlog.typing import EventDict, Processor, WrappedLogger

#: The same complaint of a library about a connection is repeated at most this often.
REPEAT_SECONDS = 60.0

#: Exceptions whose text is known to quote no data; any other is logged by its type and place alone.
_OURS = ("shared.", "services.", "local.", "pika.", "dramatiq.")
#: The database names constraint and column in its first line; the row itself comes after it.
_FIRST_LINE_ONLY = ("sqlalchemy.", "psycopg2.")


def configure(service: str) -> None:
    """Send every log line of this process to standard error, with the time, the level and `service`."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _adder("service", service),
        _without_data,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_name_messages)
    handler.addFilter(_Sparingly())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer()],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # pika writes eight lines about each failed attempt to connect, and raises it too: we log that once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    # a line for every call to a provider, with the address in it
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # At DEBUG it writes whole messages, before they are messages.
    logging.getLogger("dramatiq").setLevel(logging.INFO)
    # our own lines are written at once: through the standard library they took twice as long
    structlog.configure(
        processors=[*before, _renderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Patient(sys.stderr))),
        cache_logger_on_first_use=True,
    )


class _Patient:
    """A file to log to: a full disk, or a pipe that nobody reads any more, must not end the thread that logs."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()


def describe(error: BaseException) -> str:
    """What may be shown about `error` anywhere: its type, and its text where that quotes no data."""
    origin = f"{type(error).__module__}."
    name = type(error).__qualname__
    if origin.startswith(_OURS) or (isinstance(error, OSError) and error.filename is None):
        text = str(error)
    elif origin.startswith(_FIRST_LINE_ONLY):
        text = str(error).partition("\n")[0]
    else:
        return name
    return f"{name}: {text[:300]}" if text else name


class BindMessage(Middleware):
    """Puts the message's id and actor on every line that its handler logs."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        structlog.contextvars.bind_contextvars(message_id=message.message_id, actor=message.actor_name)

    def after_process_message(
        self, broker: Broker, message: MessageProxy, *, result: object = None, exception: BaseException | None = None
    ) -> None:
        structlog.contextvars.unbind_contextvars("message_id", "actor")

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        structlog.contextvars.unbind_contextvars("message_id", "actor")


def _renderer() -> Processor:
    if os.environ.get("NOUBA_LOG_FORMAT") == "json":
        return structlog.processors.JSONRenderer()
    colours = sys.stderr.isatty() or bool(os.environ.get("FORCE_COLOR"))
    return structlog.dev.ConsoleRenderer(colors=colours and not os.environ.get("NO_COLOR"))


def _adder(key: str, value: str) -> Processor:
    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event[key] = value
        return event

    return add


def _without_data(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Replace an exception by its loggable description and the places that it passed."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else (given[1] if isinstance(given, tuple) else sys.exc_info()[1])
    if given and error is not None:
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        event["error"] = describe(error)
        event["at"] = " > ".join(f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)
    return event


def _short(filename: str) -> str:
    return "/".join(filename.rsplit("/", 3)[1:])


def _name_messages(record: logging.LogRecord) -> bool:
    """Let dramatiq name a message by its id and actor, where it would write all its fields."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            f"{argument.message_id} of {argument.actor_name}"
            if isinstance(argument, (Message, MessageProxy))
            else argument
            for argument in record.args
        )
    return True


class _Sparingly(logging.Filter):
    """Lets a worker's complaint about its connection pass once a minute: dramatiq repeats it every three seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, Any], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("dramatiq.worker.ConsumerThread"):
            return True
        key, now = (record.name, record.msg), time.monotonic()
        if now - self._last.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return False
        self._last[key] = now
        return True
