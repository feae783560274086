"""A log line says what happened and where, as text or JSON, and quotes no data."""

import json
import subprocess
import sys

import psycopg2
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from shared.contracts.message import ContractError
from shared.runtime.logs import describe

PROGRAM = """
import logging, structlog
from shared.runtime import logs
logs.configure("gateway")
log = structlog.get_logger("ours")
log.info("event kept", event_id=7)
structlog.contextvars.bind_contextvars(message_id="m-1")
logging.getLogger("dramatiq.thing").warning("message %s was late", 9)
logging.getLogger("dramatiq.thing").debug("with all its arguments")
logging.getLogger("pika.thing").error("eight lines of this")
for _ in range(3):
    logging.getLogger("dramatiq.worker.ConsumerThread(q)").critical("Consumer encountered a connection error: %s", 1)
def parse():
    int("canary")
try:
    parse()
except ValueError:
    log.exception("event not kept", event_id=8)
    logging.getLogger("dramatiq.thing").error("Failed to process message", exc_info=True)
"""


def lines(**environment: str) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    return result.stderr.splitlines()


def test_json_lines_have_time_level_event_and_service_for_us_and_for_libraries() -> None:
    ours, theirs, *_ = [json.loads(line) for line in lines(NOUBA_LOG_FORMAT="json")]
    assert ours.pop("timestamp").endswith("Z")
    assert theirs.pop("timestamp").endswith("Z")
    assert ours == {"event": "event kept", "event_id": 7, "level": "info", "service": "gateway"}
    assert theirs == {
        "event": "message 9 was late",
        "level": "warning",
        "service": "gateway",
        "message_id": "m-1",
    }


def test_a_message_is_named_by_its_id_and_never_by_its_fields() -> None:
    program = """
import dramatiq, logging
from shared.runtime import logs
logs.configure("gateway")
message = dramatiq.Message("webhooks", "webhooks.received.v1", (), {"event_id": "canary"}, {}, message_id="m-7")
logging.getLogger("dramatiq.worker").warning("Failed to process message %s.", message)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "Failed to process message m-7 of webhooks.received.v1." in result.stderr
    assert "canary" not in result.stderr


def test_libraries_that_repeat_themselves_are_heard_once() -> None:
    events = [json.loads(line)["event"] for line in lines(NOUBA_LOG_FORMAT="json")]
    assert events == [
        "event kept",
        "message 9 was late",
        "Consumer encountered a connection error: 1",
        "event not kept",
        "Failed to process message",
    ]


def test_an_exception_is_reported_by_type_and_place_and_its_text_is_withheld() -> None:
    ours, theirs = [json.loads(line) for line in lines(NOUBA_LOG_FORMAT="json")][-2:]
    assert ours["error"] == theirs["error"] == "ValueError"
    assert ours["at"] == theirs["at"]
    assert ours["at"].endswith("parse")
    assert "canary" not in "".join(lines())


def test_text_is_for_reading() -> None:
    assert "event kept" in lines()[0]
    assert "event_id=7" in lines()[0]
    assert "\x1b" not in lines()[0]
    assert "\x1b" in lines(FORCE_COLOR="1")[0]


def test_our_own_errors_keep_their_sentence() -> None:
    assert describe(ContractError("webhooks.received.v1.event_id is missing")) == (
        "ContractError: webhooks.received.v1.event_id is missing"
    )


def test_the_database_names_the_constraint_and_not_the_row(engine: Engine) -> None:
    with pytest.raises(SQLAlchemyError) as caught, engine.begin() as connection:
        connection.execute(text("INSERT INTO outbox (message) VALUES ('{\"canary\": 1}')"))
    assert "canary" in str(caught.value)
    reported = describe(caught.value)
    assert "not-null constraint" in reported
    assert "canary" not in reported


def test_a_refused_connection_says_why() -> None:
    with pytest.raises(psycopg2.OperationalError) as caught:
        psycopg2.connect("postgresql://127.0.0.1:1/nothing")
    assert "refused" in describe(caught.value)


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    program = (
        "import os, structlog\n"
        "from shared.runtime import logs\n"
        "logs.configure('gateway')\n"
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
        "structlog.get_logger('ours').info('event kept', event_id=7)\n"
        "print('the thread goes on')\n"
    )
    result = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    assert result.stdout == "the thread goes on\n"
