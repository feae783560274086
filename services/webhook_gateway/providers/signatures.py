"""Signature primitives: HMAC-SHA256 and RSA over raw bytes, in constant time, with several keys.

A signature comes from a stranger: whatever it holds, the answer is a match or InvalidSignature, never another error.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature as KeyDoesNotMatch
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import HashAlgorithm

from services.webhook_gateway.errors import InvalidSignatureError

#: No provider's signature header comes near this; more is an attack on our time.
HEADER_LIMIT_CHARACTERS: Final = 4096
#: How far a signed time may lie from ours, either way: the five minutes that Stripe and Standard Webhooks recommend.
TOLERANCE_SECONDS: Final = 300
#: Signatures tried of one request: a sender needs one for each of its active keys.
SIGNATURES_LIMIT: Final = 8

_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")


def matching_secret(secrets: Sequence[bytes], message: bytes, signatures: Sequence[bytes]) -> int:
    """The place of the secret whose HMAC-SHA256 of `message` is one of `signatures`.

    Every secret and signature is tried even after a match, so that the time taken does not disclose which one it was.
    Raises InvalidSignatureError where none matches.
    """
    matched = None
    for place, secret in enumerate(secrets):
        expected = hmac.digest(secret, message, "sha256")
        for signature in signatures[:SIGNATURES_LIMIT]:
            if hmac.compare_digest(expected, signature) and matched is None:
                matched = place
    if matched is None:
        raise InvalidSignatureError("The signature was not made with any of our secrets for this provider.")
    return matched


def matching_rsa_key(keys: Sequence[RSAPublicKey], message: bytes, signature: bytes, algorithm: HashAlgorithm) -> int:
    """The place of the public key that verifies the PKCS#1 v1.5 `signature`. Raises InvalidSignatureError for none."""
    for place, key in enumerate(keys):
        try:
            key.verify(signature, message, PKCS1v15(), algorithm)
        except KeyDoesNotMatch:
            continue
        return place
    raise InvalidSignatureError("The checksum was not made with the private half of any of our keys for this provider.")


def required_header(headers: Mapping[str, str], name: str) -> str:
    """The value of a signature header. Raises InvalidSignatureError for none, an empty, long or non-ASCII one."""
    value = headers.get(name, "").strip()
    if not value:
        raise InvalidSignatureError(f"The header {name} is missing.")
    if len(value) > HEADER_LIMIT_CHARACTERS or not value.isascii():
        raise InvalidSignatureError(f"The header {name} cannot be a signature.")
    return value


def require_fresh(timestamp: str, now: datetime) -> None:
    """Raises InvalidSignatureError where `timestamp`, in Unix seconds, is not about now."""
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidSignatureError("The signed time is not a number of seconds.")
    if abs(int(timestamp) - now.timestamp()) > TOLERANCE_SECONDS:
        raise InvalidSignatureError("The signed time is more than five minutes from ours; check both clocks.")


def sha256_from_hex(text: str) -> bytes:
    """The 32 bytes that 64 hexadecimal digits stand for. Raises InvalidSignatureError for any other text."""
    if not _SHA256_HEX.fullmatch(text):
        raise InvalidSignatureError("The signature is not 64 hexadecimal digits.")
    return bytes.fromhex(text)


def bytes_from_base64(text: str) -> bytes | None:
    """What `text` stands for, or None where it is not base64."""
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
