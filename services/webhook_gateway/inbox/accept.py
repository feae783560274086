"""Use case: verify, store and answer one webhook, and nothing else meanwhile."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.webhook_gateway.errors import InvalidSignatureError, UnreadableEventError
from services.webhook_gateway.providers.base import (
    ANSWER,
    API_VERSION,
    KEY_MODE,
    CountsDeliveries,
    Mode,
    Proof,
    Provider,
    Request,
    notice_fault,
)
from shared.contracts.webhooks import EventState
from shared.runtime.failpoints import failpoint


class AcceptStatus(StrEnum):
    """What the provider is answered; for each of them it need not send the webhook again."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer, once the event is durable; one that waits in the spool has no id yet."""

    status: AcceptStatus
    event_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """What is kept of a webhook. Its headers are those that the provider's parser needs, and `KEY_MODE`.

    `body_sha256` is the hash of the body, without what a provider changes in each delivery of an event.
    `received_at` is set where that was earlier than now: the entry has waited in the spool.
    """

    provider: str
    dedupe_key: str
    state: EventState
    reason: str | None
    request: Request
    body_sha256: bytes
    reference: str | None
    proof: Proof
    #: The provider has to be asked about it, which takes seconds.
    is_hint: bool = False
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InsertResult:
    """The row that holds the entry, or the row that held its key before; the spool's have no id yet.

    `api_version` is the version of the provider's API in which a row that was there before was written.
    """

    event_id: int | None
    is_new: bool
    body_sha256: bytes
    api_version: str | None = None


class Inbox(Protocol):
    """Where webhooks are kept."""

    def keep(self, entry: WebhookEvent) -> InsertResult:
        """Store `entry` and enqueue its message in one transaction, unless its key is stored already."""
        ...


class BatchInbox(Inbox, Protocol):
    """Where webhooks are kept by the batch."""

    def keep_all(self, entries: Sequence[WebhookEvent]) -> Sequence[InsertResult]:
        """`keep` for each of `entries`, one after the other; of two with one key, the first is new."""
        ...


class Unverified(Protocol):
    """Counts the requests that prove nothing."""

    def count_refusal(self, provider: str) -> None:
        """Count a request that was not genuine. Raises TooManyUnverifiedError past the limit."""
        ...

    def count_hint(self, provider: str, reference: str | None, client: str) -> None:
        """Count a request of `client` that nobody signed. Raises TooManyUnverifiedError past the limit."""
        ...


def accept(
    psp: Provider,
    request: Request,
    inbox: Inbox,
    wake: Callable[[], None],
    unverified: Unverified,
    *,
    client: str = "",
    payments_mode: Mode = Mode.LIVE,
) -> Receipt:
    """Keep a genuine webhook once. Raises InvalidSignatureError, TooManyUnverifiedError, and what `inbox` raises: our
    fault.

    `client` is the address that the request came from.
    """
    try:
        proof = psp.verify(request)
    except InvalidSignatureError:
        unverified.count_refusal(psp.name)
        raise
    entry = read_entry(psp, request, proof, payments_mode)
    if not proof.signed:
        unverified.count_hint(psp.name, entry.reference, client)
    failpoint("intake.after_verify")
    receipt = insert_once(entry, inbox)
    failpoint("intake.after_commit")
    if receipt.status is AcceptStatus.ACCEPTED:
        wake()
    return receipt


def insert_once(entry: WebhookEvent, inbox: Inbox) -> Receipt:
    """Keep `entry`, unless it is kept already. Raises what `inbox` raises."""
    kept = inbox.keep(entry)
    return _receipt(entry, kept, inbox)


def insert_each_once(entries: Sequence[WebhookEvent], inbox: BatchInbox) -> Sequence[Receipt]:
    """`keep_once` for each of `entries`, one after the other, and at hardly more cost than for one."""
    kept = inbox.keep_all(entries)
    return [_receipt(entry, found, inbox) for entry, found in zip(entries, kept, strict=True)]


def _receipt(entry: WebhookEvent, kept: InsertResult, inbox: Inbox) -> Receipt:
    if not kept.is_new and kept.body_sha256 != entry.body_sha256 and (version := _other_version(entry, kept)):
        # providers write one event in several versions while an endpoint is upgraded: each is settled, and booked once
        entry = replace(entry, dedupe_key=f"{entry.dedupe_key}#{version}")
        kept = inbox.keep(entry)
    if not kept.is_new and kept.body_sha256 != entry.body_sha256:
        kept, entry = _keep_conflict(entry, kept.event_id, inbox)
    if not kept.is_new:
        return Receipt(AcceptStatus.DUPLICATE, kept.event_id)
    quarantined = entry.state is EventState.QUARANTINED
    return Receipt(AcceptStatus.QUARANTINED if quarantined else AcceptStatus.ACCEPTED, kept.event_id)


def _other_version(entry: WebhookEvent, kept: InsertResult) -> str | None:
    """The version of the provider's API in which `entry` is written, where that is another one than that of `kept`."""
    version = entry.request.headers.get(API_VERSION)
    return version if version and kept.api_version and version != kept.api_version else None


def read_entry(psp: Provider, request: Request, proof: Proof, payments_mode: Mode = Mode.LIVE) -> WebhookEvent:
    """What is kept of `request`; put aside for an operator where it cannot be read, or is of another mode."""
    is_answer = request.method == ANSWER  # then no stranger chose the headers
    if proof.body is not None:
        request = replace(request, body=proof.body)
    needed = {name: value for name, value in request.headers.items() if is_answer or name in psp.kept_headers}
    if proof.mode:
        # settlement asks again: what cannot be read now may be readable to a later release
        needed[KEY_MODE] = proof.mode.value
    digest = hashlib.sha256(request.body).digest()
    entry = WebhookEvent(
        provider=psp.name,
        dedupe_key=f"sha256:{digest.hex()}",
        state=EventState.QUARANTINED,
        reason=None,
        request=replace(request, headers=needed),
        body_sha256=digest,
        reference=None,
        proof=proof,
    )
    try:
        notice = psp.parse(request)
    except UnreadableEventError as error:
        return replace(entry, reason=str(error))
    if fault := notice_fault(payments_mode, proof.mode, notice):
        # under a key of its own: anyone who has a test key must not take the place of a genuine event
        return replace(entry, reason=fault)
    if notice.api_version:
        needed[API_VERSION] = notice.api_version
        entry = replace(entry, request=replace(request, headers=needed))
    if isinstance(psp, CountsDeliveries):
        digest = hashlib.sha256(psp.without_count(request.body)).digest()
    return replace(
        entry,
        state=EventState.RECEIVED,
        dedupe_key=notice.key,
        reference=notice.reference,
        body_sha256=digest,
        is_hint=notice.hint,
    )


def _keep_conflict(entry: WebhookEvent, event_id: int | None, inbox: Inbox) -> tuple[InsertResult, WebhookEvent]:
    """The same id with another body, and both are signed: an operator has to check, so this one is kept apart."""
    conflict = replace(
        entry,
        dedupe_key=f"{entry.dedupe_key}#{entry.body_sha256.hex()}",
        state=EventState.QUARANTINED,
        reason=f"webhook {event_id} has the same id and another body",
    )
    return inbox.keep(conflict), conflict
