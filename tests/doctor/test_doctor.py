"""Every fault that the doctor knows, put into a healthy school one at a time."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
from click.testing import CliRunner

from local.rabbitmq import RabbitMq
from local.s3 import S3
from shared.cli import main
from shared.runtime.doctor.findings import Verdict
from shared.runtime.doctor.postgres import check_database
from tests.doctor.school import School, healthy_school, keep_day, serving
from tests.waiting import wait_until


@pytest.fixture
def school(database_url: str, rabbitmq_url: str, s3_server: S3) -> Iterator[School]:
    with healthy_school(database_url, rabbitmq_url, s3_server) as made:
        yield made


def test_nothing_is_wrong_in_a_healthy_school(school: School) -> None:
    # When it is looked at
    status, findings = school.examine()

    # Then every line is fine, and each server and service has one
    assert {finding["verdict"] for finding in findings} == {"fine"}, findings
    assert {"database", "clock", "schema", "RabbitMQ", "S3", "ffmpeg", "providers", "statistics"} <= {
        finding["subject"] for finding in findings
    }
    assert status == 0


def _changed(name: str, change: Callable[[str], str]) -> Callable[[School], None]:
    def seed(school: School) -> None:
        school.settings[name] = change(school.settings.get(name, ""))

    return seed


def _with(old: Callable[[str], str | None], new: str) -> Callable[[str], str]:
    return lambda url: url.replace(str(old(url)), new)


def _executed(statement: str) -> Callable[[School], None]:
    return lambda school: school.execute(statement)


def _age_the_statistics(school: School) -> None:
    school.execute("DELETE FROM daily_stats_newest")
    keep_day(school, "2026-01-01")


def _netloc(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


_OLD_EVENT = (
    "INSERT INTO webhook_events (provider, dedupe_key, state, body, body_sha256, received_at)"
    " VALUES ('generic', 'x', 'received', '{}', sha256('{}'), now() - interval '1 hour')"
)

#: The name of a fault, how it gets into the school, whom the doctor blames, and a word of what it says or advises.
FAULTS: dict[str, tuple[Callable[[School], None], str, str]] = {
    "no database is named": (_changed("NOUBA_DATABASE_URL", lambda _: ""), "database", "NOUBA_DATABASE_URL"),
    "nobody listens at the database's address": (
        _changed("NOUBA_DATABASE_URL", _with(_netloc, "127.0.0.1:1")),
        "database",
        "nobody answers",
    ),
    "the database's host has no address": (
        _changed("NOUBA_DATABASE_URL", _with(_netloc, "no-such-host.invalid")),
        "database",
        "no address",
    ),
    "the role is unknown": (
        _changed("NOUBA_DATABASE_URL", _with(lambda url: urlsplit(url).username, "stranger")),
        "database",
        "role|password",
    ),
    "the password of the database is wrong": (
        _changed("NOUBA_DATABASE_URL", _with(lambda url: urlsplit(url).password, "wrong")),
        "database",
        "password",
    ),
    "the database does not exist": (
        _changed("NOUBA_DATABASE_URL", _with(lambda url: urlsplit(url).path, "/nothing")),
        "database",
        "does not exist",
    ),
    "no migration was run": (_executed("DROP TABLE alembic_version"), "schema", "nouba migrate"),
    "the last migration is missing": (
        _executed("UPDATE alembic_version SET version_num = '0001'"),
        "schema",
        "nouba migrate",
    ),
    "the database is newer than the program": (
        _executed("UPDATE alembic_version SET version_num = '9999'"),
        "schema",
        "newer",
    ),
    "messages wait for RabbitMQ": (
        _executed(
            "INSERT INTO outbox (service, message, created_at) VALUES ('gateway', '{}', now() - interval '1 hour')"
        ),
        "outbox",
        "gateway",
    ),
    "nobody listens at RabbitMQ's address": (
        _changed("NOUBA_RABBITMQ_URL", _with(_netloc, "127.0.0.1:1")),
        "RabbitMQ",
        "Nobody answers",
    ),
    "the password of RabbitMQ is wrong": (
        _changed("NOUBA_RABBITMQ_URL", _with(lambda url: urlsplit(url).password, "wrong")),
        "RabbitMQ",
        "password",
    ),
    "the virtual host does not exist": (
        _changed("NOUBA_RABBITMQ_URL", _with(lambda url: urlsplit(url).path, "/nothing")),
        "RabbitMQ",
        "virtual host",
    ),
    "nobody listens at the address of S3": (
        _changed("NOUBA_S3_ENDPOINT_URL", lambda _: "http://127.0.0.1:1"),
        "S3",
        "Nobody answers",
    ),
    "the keys of S3 are wrong": (_changed("AWS_SECRET_ACCESS_KEY", lambda _: "wrong"), "S3", "AWS_SECRET_ACCESS_KEY"),
    "the bucket is missing": (_changed("NOUBA_S3_BUCKET", lambda _: "nothing"), "S3", "no bucket nothing"),
    "no provider is switched on": (
        lambda school: school.settings.update(
            NOUBA_PSP_GENERIC_HEADER=school.settings.pop("NOUBA_PSP_GENERIC_SECRETS")
        ),
        "providers",
        "No payment provider",
    ),
    "a provider's secret is empty": (_changed("NOUBA_PSP_STRIPE_SECRETS", lambda _: ""), "providers", "empty"),
    "a provider's secret can be guessed": (
        _changed("NOUBA_PSP_GENERIC_SECRETS", lambda _: "abc"),
        "providers",
        "guess",
    ),
    "a token can be guessed": (_changed("NOUBA_API_TOKENS", lambda _: "abc"), "API tokens", "guess"),
    "webhooks are not booked": (_executed(_OLD_EVENT), "webhooks", "nouba gateway worker"),
    "the statistics are old": (
        _age_the_statistics,
        "statistics",
        "hours ago",
    ),
    "the time zone is unknown": (_changed("NOUBA_TIMEZONE", lambda _: "Africa/Algier"), "settings", "NOUBA_TIMEZONE"),
    "there is no ffmpeg": (_changed("NOUBA_FFMPEG", lambda _: "/nothing/ffmpeg"), "ffmpeg", "NOUBA_FFMPEG"),
    "the scratch folder is missing": (_changed("NOUBA_SCRATCH_DIR", lambda _: "/nothing"), "scratch", "/nothing"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_told_with_its_fix(school: School, name: str) -> None:
    # Given one fault
    seed, subject, words = FAULTS[name]
    seed(school)

    # When the school is looked at
    status, findings = school.examine()

    # Then it is blamed on the right part, with what to do, and on no other
    faults = [finding for finding in findings if finding["verdict"] == "fault"]
    assert _blamed(faults, subject, words), findings
    assert {fault["subject"].split()[0] for fault in faults} <= {subject.split()[0], "settings"}, faults
    assert all(fault["fix"].endswith((".", "`.")) for fault in faults)
    assert status == 1


def _blamed(faults: list[dict[str, str]], subject: str, words: str) -> bool:
    return any(
        fault["subject"].startswith((subject, "settings"))
        and any(word in fault["says"] + fault["fix"] for word in words.split("|"))
        for fault in faults
    )


def test_a_clock_that_is_off_is_found(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine whose clock is a minute behind the database's
    monkeypatch.setenv("NOUBA_DATABASE_URL", database_url)

    # When it is looked at
    findings = list(check_database(clock=lambda: time.time() - 60))

    # Then that is said, with the difference
    (clock,) = (finding for finding in findings if finding.subject == "clock")
    assert clock.verdict is Verdict.FAULT
    assert "60 s ahead" in clock.says


def test_a_queue_with_other_arguments_is_found(school: School) -> None:
    # Given a queue that somebody declared as he liked
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(school.rabbitmq_url))) as connection:
        channel = connection.channel()
        channel.queue_delete("videos")
        channel.queue_declare("videos", durable=True)

    # When the school is looked at
    faults = school.faults()

    # Then that queue is named, and only that
    assert [fault["subject"] for fault in faults] == ["queue videos"]
    assert "other arguments" in faults[0]["says"]


def test_a_queue_without_a_consumer_is_found(school: School) -> None:
    # Given a queue whose worker is gone
    school.workers["webhooks"].close()

    # When the school is looked at, then it is said who is missing
    def told() -> bool:
        return [(fault["subject"], "Nobody works" in fault["says"]) for fault in school.faults()] == [
            ("queue webhooks", True)
        ]

    wait_until(told, message="the missing consumer was not told")


def test_an_alarm_of_rabbitmq_is_found(own_rabbitmq: RabbitMq, school: School) -> None:
    # Given a server that has less memory left than it wants
    own_rabbitmq.control("set_vm_memory_high_watermark", "0.0001")
    school.settings["NOUBA_RABBITMQ_URL"] = own_rabbitmq.url

    # When the school is looked at, then the alarm is told
    def told() -> bool:
        return any("takes no messages" in fault["says"] for fault in school.faults())

    wait_until(told, message="the alarm was not told")


def test_a_port_that_is_taken_is_found(school: School) -> None:
    # Given something else on the gateway's port, and something that is no web server on the statistics'
    with serving(b"it works!") as taken, socket.create_server(("127.0.0.1", 0)) as silent:
        school.settings["NOUBA_GATEWAY_PORT"] = str(taken)
        school.settings["NOUBA_STATS_PORT"] = str(silent.getsockname()[1])

        # When the school is looked at
        faults = school.faults()

    # Then both are named
    assert {fault["subject"] for fault in faults} == {"gateway", "statistics API"}
    assert all("is taken" in fault["says"] for fault in faults)


def test_an_ffmpeg_without_x264_is_found(school: School, tmp_path: Path) -> None:
    # Given a build of ffmpeg whose list of encoders has no H.264
    real = shutil.which("ffmpeg")
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\n{real} "$@" | grep -v libx264\n')
    program.chmod(0o755)
    assert "libx264" not in subprocess.run([program, "-encoders"], capture_output=True, text=True, check=True).stdout
    school.settings["NOUBA_FFMPEG"] = str(program)

    # When the school is looked at
    faults = school.faults()

    # Then it says what is missing
    assert [fault["subject"] for fault in faults] == ["ffmpeg"]
    assert "libx264" in faults[0]["says"]


def test_a_person_reads_a_line_for_each_thing_and_its_fix(school: School) -> None:
    # Given one fault
    school.settings["NOUBA_S3_BUCKET"] = "nothing"

    # When a person asks
    told = CliRunner().invoke(main, ["doctor"], env=dict(school.settings))

    # Then the line and its fix are there, and how many there are
    assert "✗ S3: There is no bucket nothing.\n    Create it, or correct NOUBA_S3_BUCKET." in told.stdout
    assert "1 fault to mend." in told.stdout
    assert told.exit_code == 1


def test_no_secret_is_told(school: School) -> None:
    # Given every server refusing us
    for name in ("NOUBA_DATABASE_URL", "NOUBA_RABBITMQ_URL"):
        school.settings[name] = school.settings[name].replace(
            str(urlsplit(school.settings[name]).password), "hush-hush"
        )
    school.settings["AWS_SECRET_ACCESS_KEY"] = "hush-hush"
    school.settings["NOUBA_PSP_GENERIC_SECRETS"] = "hush-hush"

    # When the school is looked at, then nothing of it is in the answer
    assert "hush-hush" not in str(school.examine()[1])
