"""`nouba gateway poll-pending`: shows what is pending, polls for it, and shows the outcome."""

import json
from subprocess import CompletedProcess
from typing import Any

import pytest

from local.psp.server import REST
from tests.command_line import nouba
from tests.webhook_gateway.reconciliation.harness import KEY, MERCHANT, Bench


@pytest.fixture
def settings(bench: Bench, database_url: str) -> dict[str, str]:
    return {
        "NOUBA_DATABASE_URL": database_url,
        "NOUBA_RABBITMQ_URL": "amqp://nobody:nothing@127.0.0.1:1/",
        "NOUBA_PAYMENTS_MODE": "test",
        "NOUBA_PSP_CHARGILY_SECRETS": KEY,
        "NOUBA_PSP_CHARGILY_BASE_URL": bench.simulator_url,
        "NOUBA_PSP_SATIM_USERNAME": MERCHANT["username"],
        "NOUBA_PSP_SATIM_PASSWORD": MERCHANT["password"],
        "NOUBA_PSP_SATIM_BASE_URL": bench.simulator_url + REST,
        "NOUBA_PSP_GENERIC_SECRETS": "generic-secret",
    }


@pytest.fixture(autouse=True)
def _without_log(monkeypatch: pytest.MonkeyPatch) -> None:
    # the log of the test's own process stays as it is
    monkeypatch.setattr("shared.runtime.logs.configure", lambda service: None)


def run(settings: dict[str, str], *arguments: str) -> "CompletedProcess[str]":
    return nouba("gateway", "poll-pending", *arguments, **settings)


def reported(settings: dict[str, str], *arguments: str) -> dict[str, Any]:
    found = run(settings, "--json", *arguments)
    assert found.returncode == 0, found.stderr
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def test_it_asks_about_what_is_old_enough_and_was_given_up_too(bench: Bench, settings: dict[str, str]) -> None:
    young, old, given_up = bench.begin("satim"), bench.begin("chargily"), bench.begin("satim")
    for one, age, due in ((old, "1 hour", "now() + interval '1 hour'"), (given_up, "9 days", "NULL")):
        one.end()
        bench.execute(
            f"UPDATE payments SET created_at = now() - CAST(:age AS interval), next_ask_at = {due} WHERE id = :id",  # noqa: S608
            age=age,
            id=one.payment_id,
        )

    previewed = reported(settings, "--dry-run")
    assert [row["payment_id"] for row in previewed["payments"]] == [given_up.payment_id, old.payment_id]
    assert (previewed["outcomes"], bench.states()) == ({}, {})

    assert reported(settings, "--provider", "cib")["outcomes"] == {"recorded": 1}
    assert reported(settings)["outcomes"] == {"recorded": 1, "known": 1}
    bench.settle_all()
    for one in (old, given_up):
        one.assert_credited_once()
    assert young.status == "pending"
    assert reported(settings)["payments"] == []


def test_what_the_worker_is_asking_about_is_left_to_it(bench: Bench, settings: dict[str, str]) -> None:
    bench.begin("chargily")
    bench.schedule.take("chargily")

    assert reported(settings, "--older-than", "0s")["outcomes"] == {"busy": 1}


def test_a_provider_that_fails_is_an_exit_status_and_people_see_a_table(bench: Bench, settings: dict[str, str]) -> None:
    bench.begin("chargily")
    bench.be_wrong("chargily", "broken")

    found = run(settings, "--older-than", "0s")

    assert found.returncode == 1
    assert "unavailable" in found.stdout
    assert "1 pending" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--older-than", "soon"], "30m", marks=pytest.mark.slow),
        (["--provider", "generic"], "generic cannot be polled"),
        pytest.param(["--provider", "paypal"], "paypal cannot be polled", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_a_sentence(
    settings: dict[str, str], arguments: list[str], words: str
) -> None:
    found = run(settings, *arguments)

    assert found.returncode != 0
    assert words in " ".join(found.stderr.split())
    assert "Traceback" not in found.stderr
