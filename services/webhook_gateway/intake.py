"""Take one webhook: verify it, keep it, answer. Nothing else happens while the provider waits."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from services.webhook_gateway.errors import InvalidSignature, Unreadable
from services.webhook_gateway.payments.books import State
from services.webhook_gateway.psps.base import ANSWER, KEY_MODE, Proof, Psp, Request, mode_fault
from shared.runtime.failpoints import failpoint


class Answer(StrEnum):
    """What the provider is told; for each of them it need not send the webhook again."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer, once the event is durable; one that waits in the spool has no id yet."""

    status: Answer
    event_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is kept of a webhook. Its headers are those that the provider's parser needs, and `KEY_MODE`.

    `received_at` is set where that was earlier than now: the entry has waited in the spool.
    """

    provider: str
    dedupe_key: str
    state: State
    reason: str | None
    request: Request
    body_sha256: bytes
    reference: str | None
    proof: Proof
    received_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """The row that holds the entry, or the row that held its key before; the spool's have no id yet."""

    event_id: int | None
    is_new: bool
    body_sha256: bytes


class Inbox(Protocol):
    """Where webhooks are kept."""

    def keep(self, entry: Entry) -> Kept:
        """Keep `entry` and promise to tell of it, durably, in one transaction, unless its key is kept already."""
        ...


class InboxOfMany(Inbox, Protocol):
    """Where webhooks are kept by the batch."""

    def keep_all(self, entries: Sequence[Entry]) -> Sequence[Kept]:
        """`keep` for each of `entries`, one after the other; of two with one key, the first is new."""
        ...


class Unverified(Protocol):
    """Counts the requests that prove nothing."""

    def count_refusal(self, provider: str) -> None:
        """Count a request that was not genuine. Raises TooManyUnverified past the limit."""
        ...

    def count_hint(self, provider: str) -> None:
        """Count a request that nobody signed. Raises TooManyUnverified past the limit."""
        ...


def accept(psp: Psp, request: Request, inbox: Inbox, wake: Callable[[], None], unverified: Unverified) -> Receipt:
    """Keep a genuine webhook once. Raises InvalidSignature, TooManyUnverified, and what `inbox` raises: our fault."""
    try:
        proof = psp.verify(request)
    except InvalidSignature:
        unverified.count_refusal(psp.name)
        raise
    if not proof.signed:
        unverified.count_hint(psp.name)
    failpoint("intake.after_verify")
    receipt = keep_once(read_entry(psp, request, proof), inbox)
    failpoint("intake.after_commit")
    if receipt.status is Answer.ACCEPTED:
        wake()
    return receipt


def keep_once(entry: Entry, inbox: Inbox) -> Receipt:
    """Keep `entry`, unless it is kept already. Raises what `inbox` raises."""
    kept = inbox.keep(entry)
    return _receipt(entry, kept, inbox)


def keep_each_once(entries: Sequence[Entry], inbox: InboxOfMany) -> Sequence[Receipt]:
    """`keep_once` for each of `entries`, one after the other, and at hardly more cost than for one."""
    kept = inbox.keep_all(entries)
    return [_receipt(entry, found, inbox) for entry, found in zip(entries, kept, strict=True)]


def _receipt(entry: Entry, kept: Kept, inbox: Inbox) -> Receipt:
    if not kept.is_new and kept.body_sha256 != entry.body_sha256:
        kept, entry = _keep_conflict(entry, kept.event_id, inbox)
    if not kept.is_new:
        return Receipt(Answer.DUPLICATE, kept.event_id)
    quarantined = entry.state is State.QUARANTINED
    return Receipt(Answer.QUARANTINED if quarantined else Answer.ACCEPTED, kept.event_id)


def read_entry(psp: Psp, request: Request, proof: Proof) -> Entry:
    """What is kept of `request`; put aside for an operator where it cannot be read, or is of another mode."""
    is_answer = request.method == ANSWER  # then no stranger chose the headers
    needed = {name: value for name, value in request.headers.items() if is_answer or name in psp.kept_headers}
    if proof.mode:
        # settlement asks again: what cannot be read now may be readable to a later release
        needed[KEY_MODE] = proof.mode.value
    digest = hashlib.sha256(request.body).digest()
    entry = Entry(
        provider=psp.name,
        dedupe_key=f"sha256:{digest.hex()}",
        state=State.QUARANTINED,
        reason=None,
        request=replace(request, headers=needed),
        body_sha256=digest,
        reference=None,
        proof=proof,
    )
    try:
        notice = psp.parse(request)
    except Unreadable as error:
        return replace(entry, reason=str(error))
    if fault := mode_fault(proof.mode, notice):
        # under a key of its own: whoever has a test key must not take the place of a genuine event
        return replace(entry, reason=fault)
    return replace(entry, state=State.RECEIVED, dedupe_key=notice.key, reference=notice.reference)


def _keep_conflict(entry: Entry, event_id: int | None, inbox: Inbox) -> tuple[Kept, Entry]:
    """The same id with another body, and both are signed: an operator has to look, so this one is kept apart."""
    conflict = replace(
        entry,
        dedupe_key=f"{entry.dedupe_key}#{entry.body_sha256.hex()}",
        state=State.QUARANTINED,
        reason=f"event {event_id} has the same id and another body",
    )
    return inbox.keep(conflict), conflict
