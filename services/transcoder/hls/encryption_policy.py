"""Decides which lessons are encrypted and with which content key, once, when a lesson is planned."""

from dataclasses import replace
from enum import StrEnum
from typing import Protocol

from services.transcoder.hls.encryption import Key
from services.transcoder.planning.plan import KeyPlace, Plan


class Encrypt(StrEnum):
    """Which lessons are encrypted: none, those of chapters that cost something, or all."""

    NEVER = "never"
    PAID = "paid"
    ALWAYS = "always"


class KeyStore(Protocol):
    """The table. Every method is one transaction, and may be repeated."""

    def choose(self, course_id: int, content_key: str, *, paid_only: bool) -> str | None:
        """The id of the key for a course's lesson, the same however often; None where the course need not be paid."""
        ...

    def secret(self, key_id: str) -> bytes:
        """The sixteen bytes of a key that was chosen. Raises EnvironmentNotReadyError where it is gone."""
        ...


class EncryptionPolicy:
    """Chooses a key once, when a lesson is planned: every worker and every repetition then makes the same bytes."""

    def __init__(self, keys: KeyStore, encrypt: Encrypt = Encrypt.NEVER, key_url: str = "") -> None:
        self._keys, self._encrypt, self._key_url = keys, encrypt, key_url

    def lock(self, plan: Plan, course_id: int) -> Plan:
        """`plan`, with the place of its key where the lesson is to be encrypted."""
        if self._encrypt is Encrypt.NEVER:
            return plan
        key_id = self._keys.choose(course_id, plan.key, paid_only=self._encrypt is Encrypt.PAID)
        if key_id is None:
            return plan
        uri = self._key_url.replace("{course_id}", str(course_id)).replace("{key_id}", key_id)
        return replace(plan, key_place=KeyPlace(key_id=key_id, uri=uri))

    def key(self, plan: Plan) -> Key | None:
        """What encrypts the lesson of `plan`, None where nothing does."""
        if plan.key_place is None:
            return None
        return Key(self._keys.secret(plan.key_place.key_id), plan.key_place.uri)
