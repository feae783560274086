"""SATIM's hints and callbacks: what nobody signed makes no other event and is not kept."""

from datetime import UTC, datetime, timedelta

import pytest

from local.psp.signed_webhooks import Payment, signed
from services.webhook_gateway.providers.base import Proof, Request
from services.webhook_gateway.providers.satim.webhooks import Satim
from tests.webhook_gateway.providers.recordings import build
from tests.webhook_gateway.providers.test_satim import MERCHANT, hint

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_hint_is_the_same_however_it_is_spelled() -> None:
    """Nobody signs a hint, so what a stranger adds to it must not make another event of it."""
    psp = Satim(**MERCHANT, base_url="https://bank.example", now=lambda: NOON)
    spellings = [
        "mdOrder=one&operation=refunded&status=1",
        "status=1&operation=refunded&mdOrder=one",
        "mdOrder=%6Fne&operation=refunded&status=1&refundedAmount=2",
        "mdOrder=one&orderId=one&operation=refunded&status=1&noise=" + "x" * 200_000,
    ]

    assert len({hint(psp, query).key for query in spellings}) == 1
    # words of a stranger's own are no reasons of their own
    assert len({hint(psp, f"mdOrder=one&operation=made-up-{n}&status={n}").key for n in range(2, 20)}) == 1


def test_a_hint_is_a_new_reason_to_ask_a_minute_later() -> None:
    query = "mdOrder=one&operation=refunded&status=1"
    keys = {
        hint(Satim(**MERCHANT, base_url="https://bank.example", now=lambda: at), query).key  # noqa: B023
        for at in (NOON, NOON + timedelta(seconds=60))
    }

    assert len(keys) == 2


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("lang=fr&orderId=one&noise=" + "x" * 200_000, b"orderId=one"),
        ("mdOrder=one", b"orderId=one"),
        ("amount=1&status=1&operation=deposited&mdOrder=one&x=y", b"mdOrder=one&operation=deposited&status=1"),
    ],
)
def test_of_a_hint_the_named_parameters_are_kept_alone(query: str, kept: bytes) -> None:
    psp = Satim(**MERCHANT, base_url="https://bank.example")

    proof = psp.verify(Request("POST", {}, query.encode()))

    assert proof == Proof(signed=False, body=kept)
    assert psp.parse(Request("POST", {}, kept)).key == hint(psp, query).key


def test_a_signed_callback_is_the_same_whatever_is_changed_that_nobody_signed() -> None:
    # Given a callback of the bank's that somebody has captured
    settings = {"satim_username": "a", "satim_password": "b"}
    psp = build("cib", settings | {"satim_checksum_mode": "hmac_sha256", "satim_checksum_keys": "key"}, None)
    callback = signed("satim", ["key"], Payment(reference="one", amount_minor=100), "paid")
    query = callback.path.partition("?")[2] or callback.body.decode()
    assert "checksum=" in query

    # When it comes again: in another order, in another encoding, with noise in what the checksum does not cover
    parts = query.split("&")
    names = [
        query,
        "&".join(reversed(parts)),
        query.replace("mdOrder=one", "mdOrder=%6f%6e%65"),
        query + "&sign_alias=" + "x" * 200_000,
    ]
    proofs = [psp.verify(Request("GET", {}, name.encode())) for name in names]
    keys = {psp.parse(Request("GET", {}, name.encode())).key for name in names}

    # Then it is the same event, and what is kept of it is the same
    assert len(keys) == 1
    assert len({proof.body for proof in proofs}) == 1
    assert all(proof.signed for proof in proofs)
    kept = proofs[0].body
    assert kept is not None
    assert len(kept) <= len(query)
    # and what is kept still proves itself
    assert psp.verify(Request("GET", {}, kept)).body == kept
