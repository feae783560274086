"""Signatures computed by others: every vector verifies, and the specification's own library agrees with us."""

import base64
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import standardwebhooks
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from services.webhook_gateway.errors import InvalidSignatureError
from services.webhook_gateway.providers import signatures
from services.webhook_gateway.providers.base import Request
from services.webhook_gateway.providers.satim import bpc_checksum
from services.webhook_gateway.providers.standard_webhooks import StandardWebhooks
from tests.webhook_gateway.providers.recordings import build, request_of

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).parents[1].joinpath("vectors", "vectors.json").read_text())
BY_ID = {vector["id"]: vector for vector in VECTORS}
#: Vectors of providers that are none of ours; their algorithms are checked by the primitive alone.
WITHOUT_ADAPTER = {"CH1-VENDOR", "PP-1", "SOFIZPAY-VENDOR"}

ours = pytest.mark.parametrize("vector", [v for v in VECTORS if v["provider"]], ids=lambda v: v["id"])


@ours
def test_every_vector_of_our_providers_verifies(vector: dict[str, Any]) -> None:
    proof = build(vector["provider"], vector["settings"], vector["now"]).verify(request_of(vector["request"]))

    assert proof.signed
    assert proof.secret == 0


@ours
def test_no_vector_verifies_with_another_secret(vector: dict[str, Any]) -> None:
    settings = dict(vector["settings"])
    name = next(name for name in settings if name.endswith(("_secrets", "_keys")))
    if settings.get("satim_checksum_mode") == "rsa_sha512":
        settings[name] = BY_ID["SOFIZPAY-VENDOR"]["key"]
    else:
        settings[name] = base64.b64encode(b"another secret of ours..").decode()

    with pytest.raises(InvalidSignatureError):
        build(vector["provider"], settings, vector["now"]).verify(request_of(vector["request"]))


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if "signed_string" in v and v["provider"]], ids=lambda v: v["id"]
)
def test_the_banks_signed_string_is_the_vendors(vector: dict[str, Any]) -> None:
    parameters = dict(parse_qsl(vector["request"]["body"], keep_blank_values=True))

    assert bpc_checksum.signed_string(parameters).decode() == vector["signed_string"]


def test_the_vectors_without_an_adapter_are_the_known_ones() -> None:
    assert {vector["id"] for vector in VECTORS if not vector["provider"]} == WITHOUT_ADAPTER


def test_chargilys_older_interface_signs_as_the_newer_one() -> None:
    vector = BY_ID["CH1-VENDOR"]

    matched = signatures.matching_secret(
        [b"another", vector["key"].encode()],
        base64.b64decode(vector["message_base64"]),
        [signatures.sha256_from_hex(vector["signature"])],
    )

    assert matched == 1


def test_sofizpays_return_verifies_with_the_rsa_primitive() -> None:
    vector = BY_ID["SOFIZPAY-VENDOR"]
    key = load_pem_public_key(vector["key"].encode())
    assert isinstance(key, RSAPublicKey)
    signature = base64.urlsafe_b64decode(vector["signature"])

    assert signatures.matching_rsa_key([key], vector["message"].encode(), signature, SHA256()) == 0
    with pytest.raises(InvalidSignatureError):
        signatures.matching_rsa_key([key], b"1212123hicibsuccess999", signature, SHA256())


def test_paypals_signed_string_counts_the_body_in_unsigned_decimal() -> None:
    vector = BY_ID["PP-1"]
    crc32 = zlib.crc32(vector["message"].encode())

    assert crc32 == vector["crc32"]
    assert vector["signed_string"].endswith(f"|{crc32}")


@given(body=st.binary(max_size=300), key=st.binary(min_size=24, max_size=64))
def test_what_the_specifications_own_library_signs_we_believe(body: bytes, key: bytes) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    text = body.decode("latin-1")
    signature = standardwebhooks.Webhook(secret).sign("msg_1", at, text)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        # older signatures and other versions may stand beside it
        "webhook-signature": f"v1a,AAAA v1,{base64.b64encode(bytes(32)).decode()} {signature}",
    }
    psp = StandardWebhooks([secret], now=lambda: at)

    assert psp.verify(Request("POST", headers, text.encode())).secret == 0


def test_a_stripe_signature_with_an_older_secrets_beside_it_is_believed() -> None:
    vector = BY_ID["ST-1"]
    request = request_of(vector["request"])
    header = request.headers["stripe-signature"]
    rolling = header.replace(",v1=", f",v1={'0' * 64},v0={'1' * 64},v1=")

    psp = build("stripe", vector["settings"], vector["now"])

    assert psp.verify(replace(request, headers={"stripe-signature": rolling})).secret == 0
