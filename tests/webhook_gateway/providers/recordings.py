"""The recorded requests of every provider: read from `recorded/<provider>/*.json`, one file a request."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from local.psp import signed_webhooks
from services.webhook_gateway.payments.objects import Dispute, DisputeState
from services.webhook_gateway.payments.payment_state import Stage
from services.webhook_gateway.providers.base import Mode, PaymentNotice, Proof, Provider, Request
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import read_settings

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Recording:
    """One file: a request as it came, the settings it came under, and what it must be understood as."""

    provider: str
    name: str
    reported: Mapping[str, Any]

    @cached_property
    def psp(self) -> Provider:
        """The provider as the recorded settings make it, on the recorded day."""
        return self.psp_with(self.reported["settings"])

    def psp_with(self, settings: Mapping[str, Any]) -> Provider:
        """The provider with other settings, on the recorded day."""
        return build(self.provider, settings, self.reported["now"])

    @property
    def day(self) -> datetime:
        """When the provider's clock stands still."""
        return datetime.fromisoformat(self.reported["now"])

    @cached_property
    def request(self) -> Request:
        return request_of(self.reported["request"])

    @cached_property
    def proof(self) -> Proof:
        reported = self.reported["proof"]
        kept = reported.get("body")
        body = None if kept is None else str(kept).encode()
        return Proof(reported["signed"], reported["secret"], reported["mode"] and Mode(reported["mode"]), body)

    @cached_property
    def notice(self) -> PaymentNotice:
        reported = dict(self.reported["notice"])
        for name, read in (("stage", Stage.__getitem__), ("mode", Mode)):
            if name in reported:
                reported[name] = read(reported[name])
        reported["disputes"] = tuple(_dispute(one) for one in reported.get("disputes", ()))
        reported["payers"] = tuple(reported.get("payers", ()))
        if "occurred_at" in reported:
            reported["occurred_at"] = datetime.fromisoformat(reported["occurred_at"])
        return PaymentNotice(**reported)

    @property
    def secrets_setting(self) -> str:
        """The setting that holds this provider's secrets."""
        return "satim_checksum_keys" if self.provider == "satim" else f"{self.provider}_secrets"

    @property
    def secrets(self) -> list[str]:
        """The active secrets, in their order; none for a request that came where nothing is signed."""
        return [secret for secret in self.reported["settings"].get(self.secrets_setting, "").split(",") if secret]

    def signed_anew(self, body: bytes, secret: str) -> Request:
        """A genuine request that carries `body`, made with `secret` at the recorded time."""
        if self.provider == "satim":
            parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
            parameters.pop("checksum", None)
            parameters["checksum"] = signed_webhooks.checksum(secret, parameters)
            return replace(self.request, body=urlencode(parameters).encode())
        headers = signed_webhooks.sign(self.provider, secret, body, self.day, "msg_anew")
        return replace(self.request, headers={name.lower(): value for name, value in headers.items()}, body=body)


def _dispute(reported: Mapping[str, Any]) -> Dispute:
    closed_at, reported_at = (
        at and datetime.fromisoformat(at) for at in (reported.get("closed_at"), reported.get("reported_at"))
    )
    return Dispute(reported["id"], reported["amount_minor"], DisputeState[reported["state"]], closed_at, reported_at)


def request_of(reported: Mapping[str, Any]) -> Request:
    """The request that a file describes, its body as text or in base64."""
    body = base64.b64decode(reported["body_base64"]) if "body_base64" in reported else reported["body"].encode()
    return Request(reported["method"], reported["headers"], body)


def build(provider: str, settings: Mapping[str, Any], now: str | None) -> Provider:
    """The provider that `settings` switch on, with a clock that stands still."""
    at = datetime.fromisoformat(now or "2026-01-01T00:00:00+00:00")
    return enabled(read_settings(**settings), now=lambda: at)[provider]


RECORDINGS = [
    Recording(path.parent.name, path.stem, json.loads(path.read_text())) for path in sorted(FOLDER.glob("*/*.json"))
]
#: One recording a provider whose request is signed: what is true of its signature is true of all.
SIGNED = list({one.provider: one for one in RECORDINGS if one.proof.signed and len(one.secrets) > 1}.values())


def called(recording: Recording) -> str:
    """The recording's name in a test report."""
    return f"{recording.provider}/{recording.name}"
