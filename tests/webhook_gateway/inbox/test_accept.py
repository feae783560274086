"""Every inbox, the recording one and the one in PostgreSQL, keeps what intake hands it by the same rules."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from local.psp.signed_webhooks import Delivery, Payment, sign, signed
from services.webhook_gateway.errors import InvalidSignatureError, TooManyUnverifiedError
from services.webhook_gateway.http.unverified_rate_limit import WINDOW_SECONDS, UnverifiedRateLimit
from services.webhook_gateway.inbox.accept import AcceptStatus, Inbox, InsertResult, Receipt, WebhookEvent, accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.providers.base import API_VERSION, Mode, Provider, Request
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import ProviderSettings
from shared.contracts.webhooks import EventState, WebhookReceived
from shared.runtime.database import build_engine
from tests.webhook_gateway.processes import SECRETS, SETTINGS, Database, paid


class RecordingInbox:
    """Keeps in memory, and reports what it kept."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str], int] = {}
        self._kept: list[WebhookEvent] = []

    def keep(self, entry: WebhookEvent) -> InsertResult:
        place = self._ids.setdefault((entry.provider, entry.dedupe_key), len(self._kept))
        if is_new := place == len(self._kept):
            self._kept.append(entry)
        kept = self._kept[place]
        return InsertResult(place + 1, is_new, kept.body_sha256, kept.request.headers.get(API_VERSION))

    def states(self) -> list[tuple[str, EventState, bytes]]:
        return [(entry.dedupe_key, entry.state, entry.request.body) for entry in self._kept]

    def reasons(self) -> list[str | None]:
        return [entry.reason for entry in self._kept]

    def enqueued(self) -> list[int]:
        return [number for number, entry in enumerate(self._kept, 1) if entry.state is EventState.RECEIVED]


class ReadablePostgresInbox(PostgresInbox):
    """The real one, and what a test sees of it from outside."""

    def __init__(self, url: str) -> None:
        self.engine = build_engine(url, autocommit=True)
        super().__init__(self.engine)
        self._database = Database(url)

    def states(self) -> list[tuple[str, EventState, bytes]]:
        return [(key, EventState(state), body) for _, key, state, body in self._database.events()]

    def reasons(self) -> list[str | None]:
        return [row[0] for row in self._database.rows("SELECT reason FROM webhook_events ORDER BY id")]

    def enqueued(self) -> list[int]:
        rows = self._database.rows("SELECT message -> 'kwargs' FROM outbox WHERE service = 'gateway' ORDER BY id")
        return [WebhookReceived.load(row[0]).event_id for row in rows]


@pytest.fixture(params=["recording", "postgresql"])
def inbox(request: pytest.FixtureRequest) -> Iterator[RecordingInbox | ReadablePostgresInbox]:
    if request.param == "recording":
        yield RecordingInbox()
        return
    inbox = ReadablePostgresInbox(request.getfixturevalue("database_url"))
    yield inbox
    inbox.engine.dispose()


@dataclass
class Intake:
    """`accept` with all that it needs."""

    inbox: Inbox
    unverified: UnverifiedRateLimit = field(default_factory=lambda: UnverifiedRateLimit(10, 10))
    woken: int = 0

    def take(self, delivery: Delivery) -> Receipt:
        headers = {name.lower(): value for name, value in delivery.headers.items()}
        body = delivery.body or delivery.path.partition("?")[2].encode()
        request = Request(delivery.method, headers, body)
        return accept(psp(delivery.provider), request, self.inbox, self._wake, self.unverified, payments_mode=Mode.TEST)

    def _wake(self) -> None:
        self.woken += 1


def psp(name: str) -> Provider:
    settings = {key.removeprefix("NOUBA_PSP_").lower(): value for key, value in SETTINGS.items() if "PSP" in key}
    return enabled(ProviderSettings(**settings))[name]  # type: ignore[arg-type]


def with_body(delivery: Delivery, body: bytes) -> Delivery:
    """Another body, signed by the same provider."""
    headers = sign(delivery.provider, SECRETS[delivery.provider], body, datetime.now(UTC))
    return replace(delivery, body=body, headers=headers)


Shown = RecordingInbox | ReadablePostgresInbox


def test_a_new_event_is_kept_and_enqueued_and_wakes_the_relay(inbox: Shown) -> None:
    intake, news = Intake(inbox), paid()

    receipt = intake.take(news)

    assert receipt.status is AcceptStatus.ACCEPTED
    assert [(state, body) for _, state, body in inbox.states()] == [(EventState.RECEIVED, news.body)]
    assert inbox.enqueued() == [receipt.event_id]
    assert intake.woken == 1


def test_the_same_event_again_is_a_duplicate_with_the_same_id_and_no_second_outbox_row(inbox: Shown) -> None:
    intake, news = Intake(inbox), paid()
    first = intake.take(news)

    again = intake.take(news)

    assert again == Receipt(AcceptStatus.DUPLICATE, first.event_id)
    assert len(inbox.states()) == 1
    assert inbox.enqueued() == [first.event_id]
    assert intake.woken == 1


def test_the_same_id_with_another_body_is_put_aside_beside_the_first(inbox: Shown) -> None:
    intake, news = Intake(inbox), paid()
    first = intake.take(news)
    other = with_body(news, news.body.replace(b"250000", b"990000"))
    assert other.body != news.body

    receipt = intake.take(other)

    assert receipt.status is AcceptStatus.QUARANTINED
    assert receipt.event_id != first.event_id
    assert [(state, body) for _, state, body in inbox.states()] == [
        (EventState.RECEIVED, news.body),
        (EventState.QUARANTINED, other.body),
    ]
    assert inbox.enqueued() == [first.event_id]
    assert str(first.event_id) in (inbox.reasons()[1] or "")


def test_the_other_body_again_is_a_duplicate_of_the_one_put_aside(inbox: Shown) -> None:
    intake, news = Intake(inbox), paid()
    intake.take(news)
    other = with_body(news, news.body.replace(b"250000", b"990000"))
    aside = intake.take(other)

    assert intake.take(other) == Receipt(AcceptStatus.DUPLICATE, aside.event_id)
    assert intake.take(news).status is AcceptStatus.DUPLICATE
    assert len(inbox.states()) == 2


def versions_of_one_event() -> list[Delivery]:
    """One event of Stripe as it is written for two versions of its API, and the newer one once more, changed."""
    news = paid("stripe")
    older, newer = (
        with_body(news, news.body.replace(b'"object":"event"', b'"object":"event","api_version":"%b"' % version))
        for version in (b"2024-06-20", b"2025-03-31.basil")
    )
    return [older, newer, with_body(newer, newer.body.replace(b"250000", b"990000"))]


@pytest.mark.parametrize("turn", [1, -1])
def test_an_event_in_two_versions_of_the_providers_api_is_kept_and_settled_in_both(inbox: Shown, turn: int) -> None:
    intake = Intake(inbox)
    *versions, changed = versions_of_one_event()

    receipts = [intake.take(one) for one in versions[::turn]]

    assert [receipt.status for receipt in receipts] == [AcceptStatus.ACCEPTED] * 2
    assert inbox.enqueued() == [receipt.event_id for receipt in receipts]
    # each again is a duplicate, and another body of one version is put aside
    assert [intake.take(one) for one in versions[::turn]] == [
        Receipt(AcceptStatus.DUPLICATE, receipt.event_id) for receipt in receipts
    ]
    assert intake.take(changed).status is AcceptStatus.QUARANTINED
    assert len(inbox.states()) == 3
    keys = [key for key, *_ in inbox.states()]
    assert keys[1].startswith(f"{keys[0]}#20")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"status": "paid"}',
        b'{"event_id": "\\u0000", "transaction_id": "t", "amount": 1, "currency": "DZD", "status": "paid"}',
        b'{"event_id": "\\ud800", "transaction_id": "t", "amount": 1, "currency": "DZD", "status": "paid"}',
        b'{"event_id": "'
        + b"x" * 9000
        + b'", "transaction_id": "t", "amount": 1, "currency": "DZD", "status": "paid"}',
        b"[" * 100_000,
        b'{"amount": ' + b"9" * 5000 + b"}",
        bytes(range(256)),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_signed_but_unreadable_is_put_aside_with_its_exact_bytes(inbox: Shown, body: bytes) -> None:
    intake = Intake(inbox)

    receipt = intake.take(with_body(paid(), body))

    assert receipt.status is AcceptStatus.QUARANTINED
    assert [(state, kept) for _, state, kept in inbox.states()] == [(EventState.QUARANTINED, body)]
    assert inbox.reasons()[0]
    assert inbox.enqueued() == []
    assert intake.woken == 0


def test_an_event_of_another_mode_than_its_key_is_put_aside(inbox: Shown) -> None:
    # the key begins with test_sk_, so it cannot vouch for real money
    news = paid("chargily")
    live = with_body(news, news.body.replace(b'"livemode":false', b'"livemode":true'))
    assert live.body != news.body

    receipt = Intake(inbox).take(live)

    assert receipt.status is AcceptStatus.QUARANTINED
    assert "test" in (inbox.reasons()[0] or "")
    assert "live" in (inbox.reasons()[0] or "")
    assert inbox.enqueued() == []


def test_a_refusal_keeps_nothing(inbox: Shown) -> None:
    intake, news = Intake(inbox), paid()
    with pytest.raises(InvalidSignatureError):
        intake.take(replace(news, body=news.body + b" "))

    assert inbox.states() == []
    assert inbox.enqueued() == []
    assert intake.woken == 0


def test_what_nobody_signed_is_accepted_up_to_the_limit_and_then_refused(inbox: Shown) -> None:
    intake = Intake(inbox, UnverifiedRateLimit(refusals_per_second=1000, hints_per_second=1))
    hints = [signed("satim", [], Payment(reference=f"order-{n}", amount_minor=100)) for n in range(WINDOW_SECONDS + 1)]
    for hint in hints[:-1]:
        assert intake.take(hint).status is AcceptStatus.ACCEPTED

    with pytest.raises(TooManyUnverifiedError):
        intake.take(hints[-1])

    assert len(inbox.states()) == WINDOW_SECONDS


def test_signed_events_are_never_counted_against_the_limit(inbox: Shown) -> None:
    intake = Intake(inbox, UnverifiedRateLimit(1, 1))

    receipts = [intake.take(paid()) for _ in range(WINDOW_SECONDS + 5)]

    assert {receipt.status for receipt in receipts} == {AcceptStatus.ACCEPTED}


def test_what_proves_nothing_is_limited_too(inbox: Shown) -> None:
    limit = UnverifiedRateLimit(refusals_per_second=1, hints_per_second=1000)
    intake, news = Intake(inbox, limit), paid()
    forged = replace(news, body=news.body + b" ")

    def outcome(action: Callable[[], object]) -> type[Exception]:
        with pytest.raises((InvalidSignatureError, TooManyUnverifiedError)) as caught:
            action()
        return caught.type

    outcomes = [outcome(lambda: intake.take(forged)) for _ in range(WINDOW_SECONDS + 1)]

    assert outcomes == [*[InvalidSignatureError] * WINDOW_SECONDS, TooManyUnverifiedError]
    assert inbox.states() == []
