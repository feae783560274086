"""Every fault that the doctor knows, put into a healthy school one at a time."""

import contextlib
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pika
import psycopg2
import pytest
from click.testing import CliRunner

from local.rabbitmq import RabbitMq
from shared.cli import main
from shared.operations.doctor.findings import CheckResult
from shared.operations.doctor.postgres import check_database
from tests.operations.doctor.faults import FAULTS
from tests.operations.doctor.school import School, greeting, serving
from tests.pgbouncer import pgbouncer_before
from tests.variations import variations
from tests.waiting import wait_until

#: The other faults are further mistakes in the same setting or server.
ONE_OF_EACH_KIND = (
    "no database is named", "nobody listens at the database's address", "no migration was run",
    "the database is newer than the program", "the database was made read-only", "webhooks wait in the spool",
    "the spool's file is damaged", "messages wait for RabbitMQ", "nobody listens at RabbitMQ's address",
    "nobody listens at the address of S3", "the bucket is missing", "no provider is switched on",
    "a token can be guessed", "webhooks are not booked", "the statistics are old", "there is no ffmpeg",
)  # fmt: skip


def test_nothing_is_wrong_in_a_healthy_school(school: School) -> None:
    # When it is checked
    status, findings = school.examine()

    # Then every line is fine, and each server and service has one
    assert {finding["verdict"] for finding in findings} == {"fine"}, findings
    assert {"database", "clock", "schema", "RabbitMQ", "S3", "ffmpeg", "providers", "statistics"} <= {
        finding["subject"] for finding in findings
    }
    assert status == 0


@pytest.mark.parametrize("name", variations(FAULTS, ONE_OF_EACH_KIND))
def test_a_fault_is_found_and_reported_with_its_fix(school: School, name: str) -> None:
    # Given one fault
    seed, subject, words = FAULTS[name]
    seed(school)

    # When the school is checked
    status, findings = school.examine()

    # Then it is blamed on the right part, with what to do, and on no other
    faults = [finding for finding in findings if finding["verdict"] == "fault"]
    assert _blamed(faults, subject, words), findings
    assert {fault["subject"].split()[0] for fault in faults} <= {subject.split()[0], "settings"}, faults
    assert all(fault["fix"].endswith((".", "`.")) for fault in faults)
    assert status == 1


def test_two_tokens_of_one_name_have_their_ids_named(school: School) -> None:
    # Given an entry of the setting whose name a stored token has
    school.settings["NOUBA_API_TOKENS"] = "till:read:token-of-the-setting"
    school.execute(
        "INSERT INTO api_tokens (name, scopes, digest, created_by) VALUES ('till', '{read}', sha256('x'), 'amina')"
    )

    # When the school is checked, then both ids are named, and what to do
    status, findings = school.examine()
    (found,) = [one for one in findings if one["subject"] == "API tokens"]
    assert (status, found["verdict"]) == (0, "note")
    assert re.search(r"till#[0-9a-f]{12} of NOUBA_API_TOKENS and till/[0-9]+ of", found["says"])
    assert "nouba api-tokens revoke till" in found["fix"]

    # And a revoked one is no namesake
    school.execute("UPDATE api_tokens SET revoked_at = now()")
    assert {one["verdict"] for one in school.examine()[1] if one["subject"] == "API tokens"} == {"fine"}


def _blamed(faults: list[dict[str, str]], subject: str, words: str) -> bool:
    return any(
        fault["subject"].startswith((subject, "settings"))
        and any(word in fault["says"] + fault["fix"] for word in words.split("|"))
        for fault in faults
    )


def test_events_that_nobody_removes_are_noted(school: School) -> None:
    # Given an event that is long over, as where no events worker runs
    school.execute("UPDATE events SET fanned_out_at = now()")
    school.execute(
        "INSERT INTO events (type, key, payload, occurred_at, fanned_out_at)"
        " VALUES ('wallet.changed', '7', '{}', now() - interval '40 days', now())"
    )

    # When it is checked
    status, findings = school.examine()

    # Then that is said, and is no fault
    (found,) = (finding for finding in findings if finding["subject"] == "events")
    assert (found["verdict"], status) == ("note", 0)
    assert "The oldest event is 40 days old, and 30 are kept" in found["says"]
    assert "nouba gateway events-worker" in found["fix"]


def test_a_clock_that_is_off_is_found(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a machine whose clock is a minute behind the database's
    monkeypatch.setenv("NOUBA_DATABASE_URL", database_url)

    # When it is checked
    findings = list(check_database(clock=lambda: time.time() - 60))

    # Then that is said, with the difference
    (clock,) = (finding for finding in findings if finding.subject == "clock")
    assert clock.verdict is CheckResult.FAULT
    assert "60 s ahead" in clock.says


def test_a_queue_with_other_arguments_is_found(school: School) -> None:
    # Given a queue that somebody declared as he liked
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(school.rabbitmq_url))) as connection:
        channel = connection.channel()
        channel.queue_delete("videos")
        channel.queue_declare("videos", durable=True)

    # When the school is checked
    faults = school.faults()

    # Then that queue is named, and only that
    assert [fault["subject"] for fault in faults] == ["queue videos"]
    assert "other arguments" in faults[0]["says"]


def test_a_queue_without_a_consumer_is_found(school: School) -> None:
    # Given a queue whose worker is gone
    school.workers["webhooks"].close()

    # When the school is checked, then it is said who is missing
    def reported() -> bool:
        return [(fault["subject"], "Nobody works" in fault["says"]) for fault in school.faults()] == [
            ("queue webhooks", True)
        ]

    wait_until(reported, message="the missing consumer was not reported")


def notes(school: School) -> list[tuple[str, str]]:
    return [(finding["subject"], finding["says"]) for finding in school.examine()[1] if finding["verdict"] == "note"]


def test_who_paused_a_queue_and_why_is_reported(school: School) -> None:
    school.execute(
        "INSERT INTO queue_pauses (queue, who, why, paused_at)"
        " VALUES ('videos', 'amina', 'the disk is full', '2026-11-28 09:30+00')"
    )

    assert notes(school) == [("queue videos", "amina paused it at 2026-11-28 09:30 UTC: the disk is full.")]


def test_dead_letters_that_nobody_has_decided_about_are_counted_by_queue(school: School) -> None:
    for number, state in enumerate(["dead", "dead", "discarded"]):
        school.execute(
            "INSERT INTO dead_letters (queue, message_id, state, cause, attempts, message, death, died_at)"
            " VALUES ('webhooks', %(id)s, %(state)s, 'retries', 3, '', '', now())",
            {"id": str(number), "state": state},
        )

    assert notes(school) == [("dead letters", "Nobody has decided about 2 of queue webhooks.")]


def test_a_school_without_a_spool_is_reported(school: School) -> None:
    del school.settings["NOUBA_GATEWAY_SPOOL_DIR"]

    ((subject, says),) = notes(school)

    assert (subject, "refused with 503" in says) == ("spool", True)


def test_behind_pgbouncer_with_its_defaults_nothing_is_wrong(school: School, tmp_path: Path) -> None:
    with pgbouncer_before(school.database_url, tmp_path) as url:
        school.settings["NOUBA_DATABASE_URL"] = url
        status, findings = school.examine()

    assert {finding["verdict"] for finding in findings} == {"fine"}, findings
    assert status == 0


def test_a_pgbouncer_whose_pool_is_taken_is_distinguished_from_nobody(school: School, tmp_path: Path) -> None:
    with (
        pgbouncer_before(school.database_url, tmp_path, default_pool_size=1) as url,
        contextlib.closing(psycopg2.connect(url)) as holder,
    ):
        holder.cursor().execute("SELECT 1")
        school.settings["NOUBA_DATABASE_URL"] = url
        faults = school.faults()

    assert {fault["subject"] for fault in faults} == {"database"}
    assert "gives no session" in faults[0]["says"]
    assert "default_pool_size" in faults[0]["fix"]


def test_a_pooler_in_transaction_mode_is_found(school: School, tmp_path: Path) -> None:
    with pgbouncer_before(school.database_url, tmp_path, pool_mode="transaction") as url:
        school.settings["NOUBA_DATABASE_URL"] = url
        faults = school.faults()

    assert [fault["subject"] for fault in faults] == ["database"]
    assert "pool_mode = session" in faults[0]["fix"]


def test_an_alarm_of_rabbitmq_is_found(own_rabbitmq: RabbitMq, school: School) -> None:
    # Given a server that has less memory left than it wants
    own_rabbitmq.control("set_vm_memory_high_watermark", "0.0001")
    school.settings["NOUBA_RABBITMQ_URL"] = own_rabbitmq.url

    # When the school is checked, then the alarm is reported
    def reported() -> bool:
        return any("takes no messages" in fault["says"] for fault in school.faults())

    wait_until(reported, message="the alarm was not reported")


def test_a_port_that_is_taken_is_found(school: School) -> None:
    # Given something else on the gateway's port, and something that is no web server on the statistics'
    with serving(b"it works!") as taken, socket.create_server(("127.0.0.1", 0)) as silent:
        school.settings["NOUBA_GATEWAY_PORT"] = str(taken)
        school.settings["NOUBA_STATS_PORT"] = str(silent.getsockname()[1])

        # When the school is checked
        faults = school.faults()

    # Then both are named
    assert {fault["subject"] for fault in faults} == {"gateway", "statistics API"}
    assert all("is taken" in fault["says"] for fault in faults)


@pytest.mark.parametrize("words", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"HTTP/1.1 two hundred\r\n\r\n", b""])
def test_a_port_that_is_taken_by_what_does_not_speak_http_is_found(school: School, words: bytes) -> None:
    # Given a server on the gateway's port that answers something else than HTTP
    with greeting(words) as taken:
        school.settings["NOUBA_GATEWAY_PORT"] = str(taken)

        # When the school is checked
        faults = school.faults()

    # Then it is named, with the setting that leads away from it
    assert [fault["subject"] for fault in faults] == ["gateway"]
    assert "is taken" in faults[0]["says"]
    assert "NOUBA_GATEWAY_PORT" in faults[0]["fix"]


def test_an_ffmpeg_without_x264_is_found(school: School, tmp_path: Path) -> None:
    # Given a build of ffmpeg whose list of encoders has no H.264
    real = shutil.which("ffmpeg")
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\n{real} "$@" | grep -v libx264\n')
    program.chmod(0o755)
    assert "libx264" not in subprocess.run([program, "-encoders"], capture_output=True, text=True, check=True).stdout
    school.settings["NOUBA_FFMPEG"] = str(program)

    # When the school is checked
    faults = school.faults()

    # Then it says what is missing
    assert [fault["subject"] for fault in faults] == ["ffmpeg"]
    assert "libx264" in faults[0]["says"]


def test_a_person_reads_a_line_for_each_thing_and_its_fix(school: School) -> None:
    # Given one fault
    school.settings["NOUBA_S3_BUCKET"] = "nothing"

    # When a person asks
    reported = CliRunner().invoke(main, ["doctor"], env=dict(school.settings))

    # Then the line and its fix are there, and how many there are
    assert "✗ S3: There is no bucket nothing.\n    Create it, or correct NOUBA_S3_BUCKET." in reported.stdout
    assert "1 fault to mend." in reported.stdout
    assert reported.exit_code == 1


def test_no_secret_is_reported(school: School) -> None:
    # Given every server refusing us
    for name in ("NOUBA_DATABASE_URL", "NOUBA_RABBITMQ_URL"):
        school.settings[name] = school.settings[name].replace(
            str(urlsplit(school.settings[name]).password), "hush-hush"
        )
    school.settings["AWS_SECRET_ACCESS_KEY"] = "hush-hush"
    school.settings["NOUBA_PSP_GENERIC_SECRETS"] = "hush-hush"

    # When the school is checked, then nothing of it is in the answer
    assert "hush-hush" not in str(school.examine()[1])
