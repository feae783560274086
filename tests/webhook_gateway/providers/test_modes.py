"""A test key never moves real money, nor a live one a test's, also where the event could not be read at first."""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from services.webhook_gateway.errors import UnreadableEventError
from services.webhook_gateway.http.unverified_rate_limit import UnverifiedRateLimit
from services.webhook_gateway.inbox.accept import Inbox, accept
from services.webhook_gateway.inbox.postgres import PostgresInbox
from services.webhook_gateway.inbox.spool.drain import Drain
from services.webhook_gateway.inbox.spool.fallback_inbox import Presence, SpoolingInbox
from services.webhook_gateway.inbox.spool.spool import Spool
from services.webhook_gateway.providers.base import KEY_MODE, Mode, PaymentNotice, Request
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.settle import Settlement
from services.webhook_gateway.settlement.settlement_store import SettlementResult
from shared.contracts.webhooks import EventState
from shared.operations.webhook_events.queries import EventFilter
from shared.operations.webhook_events.replay import replay_events
from shared.runtime.database import build_engine
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database, paid

#: A merchant that moves from test to live may have both for a while.
KEYS = ("test_sk_modes", "live_sk_modes")

Keep = Callable[[Request], int]


class OlderChargily(Chargily):
    """The adapter of a release that could not read the event yet."""

    def parse(self, request: Request) -> PaymentNotice:
        raise UnreadableEventError("data.payment_method is not known; update the gateway.")


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = build_engine(database.url)
    yield engine
    engine.dispose()


def inbox_of(engine: Engine) -> PostgresInbox:
    return PostgresInbox(engine.execution_options(isolation_level="AUTOCOMMIT"))


@pytest.fixture(params=["kept at once", "through the spool"])
def keep(request: pytest.FixtureRequest, engine: Engine, database: Database, tmp_path: Path) -> Keep:
    """How the release of then keeps a request; the event's id."""

    def take(inbox: Inbox, what: Request) -> None:
        accept(OlderChargily(KEYS), what, inbox, lambda: None, UnverifiedRateLimit(10, 10))

    def through_the_spool(what: Request) -> None:
        spool, presence = Spool(tmp_path / "spool", 2**20, 10), Presence()
        presence.unavailable = True
        take(SpoolingInbox(inbox_of(engine), spool, presence), what)
        assert spool.usage().events == 1
        drain = Drain(engine, spool, presence, lambda: None)
        drain.start()
        wait_until(lambda: spool.usage().events == 0)
        drain.stop()

    def keep(what: Request) -> int:
        if request.param == "through the spool":
            through_the_spool(what)
        else:
            take(inbox_of(engine), what)
        ((event_id, _, state, body),) = database.events()
        assert (state, body) == (EventState.QUARANTINED, what.body)
        return int(event_id)

    return keep


def event(key: str, *, live: bool, user_id: int, **headers: str) -> Request:
    """A payment's success, signed with `key`."""
    reported = paid("chargily", user_id=user_id).body
    body = reported.replace(b'"livemode":false', b'"livemode":true') if live else reported
    assert (body != reported) is live
    return Request("POST", {**headers, "signature": hmac.new(key.encode(), body, hashlib.sha256).hexdigest()}, body)


def add_user(engine: Engine) -> int:
    with engine.begin() as connection:
        return int(connection.scalar(text("INSERT INTO users DEFAULT VALUES RETURNING id")) or 0)


def replay(engine: Engine, event_id: int, mode: Mode) -> SettlementResult | None:
    """An operator has it settled again, by a release that can read it, in an installation of `mode`."""
    assert replay_events(engine, EventFilter(ids=(event_id,)), who="ops") == ([event_id], {})
    settlement = Settlement(
        read=lambda number: read_events(engine, [number])[0],
        books=partial(open_store, engine, timedelta(days=30)),
        providers={"chargily": Chargily(KEYS)},
        asks={},
        terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), now=lambda: datetime.now(UTC)),
        payments_mode=mode,
    )
    return settlement.settle(event_id)


@pytest.mark.parametrize(
    ("key", "live", "fault"),
    [
        (KEYS[0], True, "signed with a test key, but says it is live"),
        (KEYS[1], False, "signed with a live key, but says it is test"),
    ],
)
def test_an_event_that_was_unreadable_at_first_is_held_to_the_mode_of_its_key_when_it_is_replayed(
    engine: Engine, database: Database, keep: Keep, key: str, live: bool, fault: str
) -> None:
    # Given an event of another mode than its key, that could not be read; its sender says that the modes agree
    lie = {KEY_MODE: "live" if live else "test"}
    event_id = keep(event(key, live=live, user_id=add_user(engine), **lie))

    verdict = replay(engine, event_id, Mode.LIVE)

    assert verdict == SettlementResult(EventState.QUARANTINED, fault)
    counts = database.counts()
    assert (counts["payments"], counts["ledger_entries"]) == (0, 0)
    # and the next operator hears so at once
    assert list(replay_events(engine, EventFilter(ids=(event_id,)), who="ops")[1]) == [event_id]


@pytest.mark.parametrize(("key", "live"), [(KEYS[0], False), (KEYS[1], True)])
def test_an_event_of_its_keys_mode_that_was_unreadable_at_first_is_booked_when_it_is_replayed(
    engine: Engine, database: Database, keep: Keep, key: str, live: bool
) -> None:
    user_id = add_user(engine)
    event_id = keep(event(key, live=live, user_id=user_id))

    verdict = replay(engine, event_id, Mode.LIVE if live else Mode.TEST)

    assert verdict is not None
    assert verdict.state is EventState.APPLIED
    assert database.rows("SELECT balance_minor FROM users WHERE id = %s", user_id) == [(250_000,)]


@pytest.mark.parametrize(("key", "live", "mode"), [(KEYS[0], False, Mode.LIVE), (KEYS[1], True, Mode.TEST)])
def test_an_event_of_the_other_mode_than_the_installations_books_nothing_when_it_is_replayed(
    engine: Engine, database: Database, keep: Keep, key: str, live: bool, mode: Mode
) -> None:
    # Given keys of both modes side by side, and an event whose key and body agree
    user_id = add_user(engine)
    event_id = keep(event(key, live=live, user_id=user_id))

    # When it is settled where the other mode is set
    verdict = replay(engine, event_id, mode)

    # Then it stays aside with both values, and is booked once the setting is right
    reported = "live" if live else "test"
    assert verdict == SettlementResult(EventState.QUARANTINED, f"a {reported} payment, NOUBA_PAYMENTS_MODE is {mode}")
    assert database.counts()["ledger_entries"] == 0
    verdict = replay(engine, event_id, Mode(reported))
    assert verdict is not None
    assert verdict.state is EventState.APPLIED
