"""What is genuine and must not be booked is quarantined by a real gateway, with both values; no message is enqueued."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.postgres import Postgres
from local.psp.signed_webhooks import Delivery, Payment, sign, signed
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, deliver, new_database, paid

ACCOUNT = "acct_1SchoolNouba"


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as database:
        yield database


@pytest.fixture(scope="module")
def live(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with no mode set, as an installation is by default, and keys of both modes side by side."""
    keys = "live_sk_gateway_tests," + SECRETS["chargily"]
    log: Path = tmp_path_factory.mktemp("live") / "log"
    with RunningGateway(log, database.url, NOUBA_PAYMENTS_MODE=None, NOUBA_PSP_CHARGILY_SECRETS=keys) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def test_mode(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway in test mode that expects the events of one connected Stripe account."""
    log: Path = tmp_path_factory.mktemp("test") / "log"
    with RunningGateway(log, database.url, NOUBA_PSP_STRIPE_ACCOUNT=ACCOUNT) as gateway:
        yield gateway


def with_body(news: Delivery, body: bytes, secret: str | None = None) -> Delivery:
    """Another body, signed by the same provider."""
    headers = sign(news.provider, secret or SECRETS[news.provider], body, datetime.now(UTC), f"evt_{hash(body)}")
    return Delivery(provider=news.provider, method="POST", path=news.path, headers=headers, body=body)


def changed(news: Delivery, **fields: Any) -> Delivery:
    return with_body(news, json.dumps({**json.loads(news.body), **fields}).encode())


def outcome(gateway: RunningGateway, database: Database, news: Delivery) -> tuple[str, str | None, int]:
    """The answer's status, the reason that was kept, and the messages of that event."""
    with httpx.Client(base_url=gateway.url) as client:
        answer = deliver(client, news).json()
    ((reason,),) = database.rows("SELECT reason FROM webhook_events WHERE id = %s", answer["event_id"])
    reported = "SELECT count(*) FROM outbox WHERE (message #>> '{kwargs,event_id}')::bigint = %s"
    ((messages,),) = database.rows(reported, answer["event_id"])
    return answer["status"], reason, messages


@pytest.mark.parametrize("provider", ["stripe", "chargily"])
def test_an_event_of_a_test_payment_is_quarantined_unless_test_mode_is_set(
    live: RunningGateway, database: Database, provider: str
) -> None:
    reason = "a test payment, NOUBA_PAYMENTS_MODE is live"
    assert outcome(live, database, paid(provider)) == ("quarantined", reason, 0)


def test_an_event_of_a_live_payment_is_quarantined_in_test_mode_and_taken_in_live_mode(
    test_mode: RunningGateway, live: RunningGateway, database: Database
) -> None:
    news = changed(paid("stripe"), livemode=True, account=ACCOUNT)
    reason = "a live payment, NOUBA_PAYMENTS_MODE is test"
    assert outcome(test_mode, database, news) == ("quarantined", reason, 0)
    assert outcome(live, database, changed(paid("stripe"), livemode=True)) == ("accepted", None, 1)


def test_a_test_key_beside_a_live_one_vouches_for_no_money_even_where_the_body_reports_no_mode(
    live: RunningGateway, database: Database
) -> None:
    body = json.loads(paid("chargily").body)
    del body["livemode"], body["data"]["livemode"]
    news = with_body(paid("chargily"), json.dumps(body).encode())
    assert outcome(live, database, news) == ("quarantined", "a test payment, NOUBA_PAYMENTS_MODE is live", 0)


def test_a_stripe_event_of_another_account_than_the_one_configured_is_quarantined_with_both(
    test_mode: RunningGateway, live: RunningGateway, database: Database
) -> None:
    # Given one gateway that expects a connected account, and one that expects none
    other = changed(paid("stripe"), account="acct_other")
    reason = f"of Stripe account acct_other, and NOUBA_PSP_STRIPE_ACCOUNT is {ACCOUNT}"
    assert outcome(test_mode, database, other) == ("quarantined", reason, 0)
    platform = f"of Stripe account (none), and NOUBA_PSP_STRIPE_ACCOUNT is {ACCOUNT}"
    assert outcome(test_mode, database, paid("stripe")) == ("quarantined", platform, 0)
    news = changed(paid("stripe"), account=ACCOUNT, livemode=True)
    unexpected = f"of Stripe account {ACCOUNT}, and NOUBA_PSP_STRIPE_ACCOUNT is (none)"
    assert outcome(live, database, news) == ("quarantined", unexpected, 0)

    # Then only that account's are taken by the first
    assert outcome(test_mode, database, changed(paid("stripe"), account=ACCOUNT))[0] == "accepted"


@pytest.mark.parametrize("provider", ["stripe", "chargily", "generic", "standard_webhooks"])
def test_a_field_of_the_money_with_two_values_is_quarantined_with_both(
    test_mode: RunningGateway, database: Database, provider: str
) -> None:
    news = paid(provider) if provider != "stripe" else changed(paid("stripe"), account=ACCOUNT)
    body = news.body.replace(b'"amount":', b'"amount":7,"amount":', 1)
    body = body if body != news.body else news.body.replace(b'"amount": ', b'"amount": 7, "amount": ', 1)
    reported = json.loads(news.body)
    amount = reported.get("amount") or reported["data"].get("amount") or reported["data"]["object"]["amount"]
    reason = f"amount is given twice: 7 and {amount}"
    assert outcome(test_mode, database, with_body(news, body)) == ("quarantined", reason, 0)


def test_text_that_may_be_personal_is_not_shown_and_a_field_that_repeats_itself_is_taken(
    test_mode: RunningGateway, database: Database
) -> None:
    news = paid("generic")
    twice = news.body[:-1] + b',"note":"a@b.example","note":"c@d.example"}'
    reason = "note is given twice: (text) and (text)"
    assert outcome(test_mode, database, with_body(news, twice)) == ("quarantined", reason, 0)
    same = paid("generic").body[:-1] + b',"note":"same","note":"same"}'
    assert outcome(test_mode, database, with_body(news, same))[0] == "accepted"


def test_a_fee_above_the_amount_is_quarantined_with_both(test_mode: RunningGateway, database: Database) -> None:
    news = signed("chargily", [SECRETS["chargily"]], Payment(reference="fee-1", amount_minor=250_000))
    reported = json.loads(news.body)
    reported["data"]["fees_on_merchant"] = 2501
    reason = "the fee 250100 is above the amount 250000 (minor units)"
    assert outcome(test_mode, database, with_body(news, json.dumps(reported).encode())) == ("quarantined", reason, 0)


def test_the_headers_of_svix_are_read_and_never_mixed_with_the_others(
    test_mode: RunningGateway, database: Database
) -> None:
    # Given an event whose headers have Svix' names
    news = paid("standard_webhooks")
    svix = {name.replace("webhook-", "svix-"): value for name, value in news.headers.items()}

    # When it is sent, then it is kept under the id that was signed, and comes again under either set as a duplicate
    with httpx.Client(base_url=test_mode.url) as client:
        first = client.post(news.path, content=news.body, headers=svix)
        again = client.post(news.path, content=news.body, headers=news.headers)
        assert (first.json()["status"], again.json()["status"]) == ("accepted", "duplicate")
        ((key, headers),) = database.rows(
            "SELECT dedupe_key, headers FROM webhook_events WHERE id = %s", first.json()["event_id"]
        )
        assert (key, headers) == (news.headers["webhook-id"], {"svix-id": key})

        # And an id of one set with the proof of the other proves nothing
        mixed = {**svix, "webhook-id": "another"}
        assert client.post(news.path, content=news.body, headers=mixed).status_code == 401
