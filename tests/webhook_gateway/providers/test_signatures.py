"""The primitives of proof, where no single provider shows them."""

import hmac

import pytest

from services.webhook_gateway.errors import InvalidSignatureError
from services.webhook_gateway.providers import signatures


@pytest.mark.parametrize("value", ["", "  ", "é", "a" * 4097])
def test_a_header_that_cannot_be_a_proof_is_refused(value: str) -> None:
    with pytest.raises(InvalidSignatureError):
        signatures.required_header({"x-proof": value}, "x-proof")


def test_a_missing_header_is_named() -> None:
    with pytest.raises(InvalidSignatureError, match="x-proof is missing"):
        signatures.required_header({}, "x-proof")


def test_signatures_beyond_the_limit_are_not_tried() -> None:
    genuine = hmac.digest(b"secret", b"message", "sha256")
    others = [bytes(32)] * signatures.SIGNATURES_LIMIT

    assert signatures.matching_secret([b"secret"], b"message", [genuine, *others]) == 0
    with pytest.raises(InvalidSignatureError):
        signatures.matching_secret([b"secret"], b"message", [*others, genuine])


def test_of_two_secrets_that_match_the_first_is_named() -> None:
    genuine = hmac.digest(b"secret", b"message", "sha256")

    assert signatures.matching_secret([b"secret", b"secret"], b"message", [genuine, genuine]) == 0
