"""Signs outgoing deliveries by the Standard Webhooks specification: HMAC-SHA256 over id, time and body."""

import base64
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
#: The specification asks for 24 to 64.
SECRET_BYTES = 32


def new_secret() -> str:
    """A random secret, as receivers' libraries take it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signed_headers(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery, with a signature for each secret: a receiver accepts any that it knows."""
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode() for secret in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))
