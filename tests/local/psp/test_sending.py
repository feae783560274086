"""The sender: what it sends is genuine where it says so, forged where it says so, and the same for the same seed."""

import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click.testing
import pytest
from flask import Flask, jsonify, request

from local.psp.send_command import send
from local.psp.sending import SIGN_THE_TIME, Traffic, payments
from local.psp.server import REST
from services.webhook_gateway.errors import InvalidSignatureError
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import read_settings
from tests.webhook_gateway.providers.servers import serving

SECRETS = {
    "chargily": "test_sk_a",
    "generic": "b",
    "stripe": "whsec_c",
    "standard_webhooks": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, bank_url: str) -> Iterator[str]:
    """The adapters behind one route, remembering keys; its settings and the sender's are the environment's."""
    for name, secret in SECRETS.items():
        monkeypatch.setenv(f"NOUBA_PSP_{name.upper()}_SECRETS", secret)
    monkeypatch.setenv("NOUBA_PSP_GENERIC_HEADER", "X-School")
    monkeypatch.setenv("NOUBA_PSP_SATIM_USERNAME", "merchant")
    monkeypatch.setenv("NOUBA_PSP_SATIM_PASSWORD", "merchant-password")
    monkeypatch.setenv("NOUBA_PSP_SATIM_BASE_URL", bank_url + REST)
    providers = enabled(read_settings())
    seen: set[str] = set()
    app = Flask("gateway")

    @app.route("/webhooks/<provider>", methods=["GET", "POST"])
    def receive(provider: str) -> Any:
        headers = {name.lower(): value for name, value in request.headers.items()}
        incoming = Request(request.method, headers, request.get_data() or request.query_string)
        try:
            providers[provider].verify(incoming)
        except InvalidSignatureError:
            return jsonify(error="signature"), 401
        key = providers[provider].parse(incoming).key
        answer = "duplicate" if key in seen else "accepted"
        seen.add(key)
        return jsonify(status=answer)

    with serving(app) as url:
        monkeypatch.setenv("GATEWAY_URL", url)
        yield url


def run(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(send, arguments, catch_exceptions=False)


@pytest.mark.parametrize("provider", ["chargily", "generic", "stripe", "standard_webhooks", "satim", "cib"])
def test_every_provider_is_understood_and_its_forgeries_are_refused(gateway: str, provider: str) -> None:
    late = ("--late", "0.5") if provider in SIGN_THE_TIME else ()

    result = run(provider, "--count", "20", "--duplicate", "0.5", "--tamper", "0.5", "--shuffle", "--json", *late)

    reported = json.loads(result.stdout)
    assert result.exit_code == 0
    assert reported["unexpected"] == 0
    counts: Counter[str] = Counter()
    for line in reported["answers"]:
        counts[line["answer"]] += line["count"]
    assert counts["accepted"] == 20 == len(reported["payments"])
    assert counts["duplicate"] > 0
    assert counts["UNAUTHORIZED"] > 0


def test_a_person_sees_a_table(gateway: str) -> None:
    result = run("generic", "--count", "3", "--tamper", "1", "--seed", "1")

    assert result.exit_code == 0
    assert re.search(r"happy\W+paid\W+200 accepted\W+3\W+yes", result.stdout)
    assert re.search(r"tampered\W+paid\W+401 UNAUTHORIZED\W+3\W+yes", result.stdout)


def test_an_answer_that_should_not_be_is_an_exit_status(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_PSP_GENERIC_SECRETS", "another than the gateway's")

    assert run("generic").exit_code == 1


def test_a_gateway_that_is_not_there_is_an_exit_status() -> None:
    result = click.testing.CliRunner(env={"NOUBA_PSP_GENERIC_SECRETS": "b"}).invoke(
        send, ["generic", "--gateway", "http://127.0.0.1:9"]
    )

    assert result.exit_code == 1
    assert "ConnectError" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (("chargily",), "Set NOUBA_PSP_CHARGILY_SECRETS"),
        (("generic", "--events", "disputed"), "generic sends pending, paid"),
        (("generic", "--late", "1"), "generic signs no time"),
    ],
)
def test_a_mistake_is_reported_with_its_fix(arguments: tuple[str, ...], fix: str) -> None:
    result = run(*arguments)

    assert result.exit_code == 2
    assert fix in result.stderr


@pytest.mark.parametrize("provider", sorted(SECRETS))
def test_the_same_seed_sends_the_same_bytes_in_the_same_order(provider: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    traffic = Traffic(provider=provider, secrets=[SECRETS[provider]], duplicate=0.3, tamper=0.2, late=0.1, shuffle=True)

    def parcels(seed: int) -> Any:
        owed = payments(provider, count=50, amount_minor=250000, users=(1, 2), currency="DZD", seed=seed)
        return traffic.parcels(owed, random.Random(seed), at)

    assert parcels(1) == parcels(1) != parcels(2)
    assert {parcel.scenario for parcel in parcels(1)} == {"happy", "duplicate", "tampered", "late"}


def test_events_are_reported_in_the_order_asked_for_unless_shuffled(gateway: str) -> None:
    result = run("stripe", "--events", "pending,paid,refunded,disputed,won", "--user", "7", "--json")

    reported = json.loads(result.stdout)
    assert {line["what"] for line in reported["answers"]} == {"pending", "paid", "refunded", "disputed", "won"}
    assert reported["payments"][0]["user_id"] == 7
