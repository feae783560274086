"""The BPC platform's checksum of a callback: its sorted parameters under a key that the bank hands over."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from services.webhook_gateway.errors import InvalidSignatureError, NotReadyError
from services.webhook_gateway.providers import signatures
from services.webhook_gateway.providers.settings import ChecksumMode, ProviderSettings, plain

#: Not signed: the checksum itself and the bank's name for the key, whose wording is wrong in the vendor's own example.
UNSIGNED: Final = frozenset({"checksum", "sign_alias"})
# the platform writes capitals; one spelling only, so that a changed letter is never the same checksum
_HEX = re.compile(r"(?:[0-9A-F]{2}){1,1024}")


class Checksum(Protocol):
    """A way to check a callback."""

    def matching_key(self, parameters: Mapping[str, str]) -> int:
        """The place of the key that made the checksum. Raises InvalidSignatureError where none did."""
        ...


class HmacChecksum:
    """HMAC-SHA256 with a key that both sides hold."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def matching_key(self, parameters: Mapping[str, str]) -> int:
        return signatures.matching_secret(self._keys, signed_string(parameters), [_given(parameters)])


class RsaChecksum:
    """An RSA signature by the bank's private key, checked with its public key or certificate."""

    def __init__(self, pems: Sequence[str], algorithm: HashAlgorithm) -> None:
        self._keys = [_public_key(pem) for pem in pems]
        self._algorithm = algorithm

    def matching_key(self, parameters: Mapping[str, str]) -> int:
        return signatures.matching_rsa_key(self._keys, signed_string(parameters), _given(parameters), self._algorithm)


def checksum_of(settings: ProviderSettings) -> Checksum | None:
    """What the settings describe; None for no checksums. The algorithm is never taken from a request."""
    keys = plain(settings.satim_checksum_keys)
    match settings.satim_checksum_mode:
        case ChecksumMode.NONE:
            return None
        case ChecksumMode.HMAC_SHA256:
            return HmacChecksum(keys)
        case ChecksumMode.RSA_SHA256:
            return RsaChecksum(keys, SHA256())
        case ChecksumMode.RSA_SHA512:
            return RsaChecksum(keys, SHA512())


def signed_string(parameters: Mapping[str, str]) -> bytes:
    """`name;value;` of exactly the parameters that came, by name, the last semicolon included."""
    signed = sorted((name, value) for name, value in parameters.items() if name not in UNSIGNED)
    return "".join(f"{name};{value};" for name, value in signed).encode()


def _given(parameters: Mapping[str, str]) -> bytes:
    checksum = parameters.get("checksum", "")
    if not _HEX.fullmatch(checksum):
        raise InvalidSignatureError("The checksum is missing or not hexadecimal digits in capitals.")
    return bytes.fromhex(checksum)


def _public_key(pem: str) -> RSAPublicKey:
    # an environment file holds one line a variable, so the line ends may be written out
    data = pem.replace("\\n", "\n").encode()
    key: object = None
    try:
        is_certificate = b"BEGIN CERTIFICATE" in data
        key = load_pem_x509_certificate(data).public_key() if is_certificate else load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        pass  # reported below, together with a key of another kind
    if not isinstance(key, RSAPublicKey):
        raise NotReadyError("NOUBA_PSP_SATIM_CHECKSUM_KEYS must be RSA public keys or certificates in PEM.")
    return key
