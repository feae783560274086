"""Adds, changes and removes endpoints; lists and replays their deliveries.

A secret is shown once, when it is made.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from shared.contracts.event_types import EVENT_TYPES, Ping
from shared.operations import audit_log
from shared.operations.bounded_count import MAX_COUNTED, BoundedCount
from shared.runtime.public_addresses import PrivateAddressError, public_addresses
from shared.runtime.standard_webhooks_signing import new_secret
from shared.runtime.translatable_sentence import Sentence
from shared.schema.tables import events, webhook_deliveries, webhook_endpoints

MAX_URL: Final = 2048
MAX_DESCRIPTION: Final = 500
MAX_ENDPOINTS: Final = 1000
DELIVERY_STATES: Final = ("pending", "delivered", "failed")
#: How long the old secret signs beside the new one.
ROTATION: Final = timedelta(hours=24)
#: Events that one replay of the API takes up, at least; the command line goes on to the end.
MAX_REPLAYED: Final = 100_000
#: Ids of events, and deliveries, that one statement checks: it takes milliseconds, whatever there is.
BATCH: Final = 5_000
#: A worker leases a delivery by moving `due_at` so far ahead: what is due later than that is not being delivered.
LEASE_SECONDS: Final = 60
#: How often a wait for an answer reads the delivery.
POLL_SECONDS: Final = 0.2

_SHOWN = (
    *webhook_endpoints.c["id", "url", "description", "event_types", "ordered", "enabled", "disabled_because"],
    *webhook_endpoints.c["disabled_at", "failures", "failing_since_at", "held_until_at", "previous_until_at"],
    webhook_endpoints.c.created_at,
)


class BadEndpointError(Exception):
    """The endpoint cannot be as it is asked for; the message says why."""


class UnknownEndpointError(Exception):
    """There is no such endpoint."""

    def __init__(self, endpoint_id: int) -> None:
        super().__init__(Sentence("There is no endpoint %(id)s.", id=endpoint_id))


@dataclass(frozen=True, slots=True)
class EndpointDetails:
    """An endpoint without its secrets."""

    id: int
    url: str
    description: str | None
    event_types: Sequence[str]
    ordered: bool
    enabled: bool
    disabled_because: str | None
    disabled_at: datetime | None
    failures: int
    failing_since_at: datetime | None
    held_until_at: datetime | None
    previous_until_at: datetime | None
    created_at: datetime

    def as_json(self) -> dict[str, Any]:
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class DeliveryDetails:
    """One event for one endpoint, with its attempts, the newest last."""

    id: int
    event_id: str
    type: str
    state: str
    attempts: int
    due_at: datetime | None
    occurred_at: datetime
    ended_at: datetime | None
    log: Sequence[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return _plain(asdict(self))


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """Which events a replay sends again: of these types (none: the endpoint's), of a time, only failed ones.

    A failed one was given up, or waits for its next attempt. `event` is the number of the only event, and `after`
    continues a replay after the event with this number.
    """

    types: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    only_failed: bool = False
    event: int | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many events are sent again; `next_after` continues where the limit was reached."""

    events: int
    next_after: int | None


def event_number(event_id: str) -> int:
    """The number of an event, such as 4711 of `evt_4711`. Raises BadEndpointError."""
    found = re.fullmatch(r"(?:evt_)?([0-9]{1,18})", event_id.strip())
    if found is None:
        raise BadEndpointError(Sentence("An event's id is such as evt_4711."))
    return int(found[1])


class Endpoints:
    """Endpoints and deliveries in the database. `allow_private` allows http and private addresses."""

    def __init__(self, engine: Engine, *, allow_private: bool) -> None:
        # the gateway's engine commits each statement; an act and its line in the audit log are one transaction
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._allow_private = allow_private

    def add(
        self, url: str, event_types: Sequence[str], description: str | None, *, ordered: bool, who: str
    ) -> tuple[int, str]:
        """The new endpoint's id and secret. Raises BadEndpointError."""
        self._require_url(url)
        secret = new_secret()
        values = {
            "url": url,
            "event_types": _checked_types(event_types),
            "description": _checked_description(description),
            "ordered": ordered,
            "secret": secret,
        }
        with self._engine.begin() as connection:
            _require_room(connection)
            endpoint_id = connection.scalar(insert(webhook_endpoints).values(values).returning(webhook_endpoints.c.id))
            assert endpoint_id is not None
            _record(connection, who, "add", endpoint_id)
        return int(endpoint_id), secret

    def find_all(self) -> list[EndpointDetails]:
        with self._engine.connect() as connection:
            rows = connection.execute(select(*_SHOWN).order_by(webhook_endpoints.c.id)).all()
        return [_details(row) for row in rows]

    def count_pending(self) -> dict[int, str]:
        """By endpoint, deliveries that are pending, in words: beyond MAX_COUNTED they are not counted."""
        with self._engine.connect() as connection:
            rows = connection.exec_driver_sql(_COUNT_PENDING, {"limit": MAX_COUNTED + 1}).all()
        return {row.id: str(BoundedCount(row.pending)) for row in rows}

    def show(self, endpoint_id: int) -> EndpointDetails:
        """Raises UnknownEndpointError."""
        with self._engine.connect() as connection:
            return _details(_found(connection, endpoint_id))

    def change(self, endpoint_id: int, changes: dict[str, Any], *, who: str, why: str | None = None) -> EndpointDetails:
        """Set url, event_types, description, ordered or enabled. Raises UnknownEndpointError or BadEndpointError.

        An endpoint that is enabled begins anew: what was pending is sent, what came while it was disabled is not.
        """
        values = dict(changes)
        if "url" in values:
            self._require_url(values["url"])
        if "event_types" in values:
            values["event_types"] = _checked_types(values["event_types"])
        if "description" in values:
            values["description"] = _checked_description(values["description"])
        fresh = {"failures": 0, "failing_since_at": None, "held_until_at": None}
        if values.get("enabled") is True:
            values |= {"disabled_because": None, "disabled_at": None, **fresh}
        if "url" in values:
            values |= fresh
        with self._engine.begin() as connection:
            before = _found(connection, endpoint_id)
            if values.get("enabled") is False and before.enabled:
                values |= {"disabled_because": "operator", "disabled_at": func.now()}
            if values:
                connection.execute(
                    update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(values)
                )
                _record(connection, who, "change", endpoint_id, sorted(changes), why)
            return _details(_found(connection, endpoint_id))

    def remove(self, endpoint_id: int, *, who: str) -> None:
        """Remove the endpoint with its deliveries, batch by batch. Raises UnknownEndpointError.

        It is disabled first, so that no delivery is added. What ends it half-way leaves a disabled endpoint: remove it
        again.
        """
        disabled = {"enabled": False, "disabled_because": "operator", "disabled_at": func.now()}
        with self._engine.begin() as connection:
            _found(connection, endpoint_id)
            connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(disabled))
            _record(connection, who, "remove", endpoint_id)
        removed = BATCH
        while removed == BATCH:
            with self._engine.begin() as connection:
                values = {"endpoint": endpoint_id, "limit": BATCH}
                removed = connection.exec_driver_sql(_REMOVE_DELIVERIES, values).rowcount
        with self._engine.begin() as connection:
            connection.execute(delete(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id))

    def rotate(self, endpoint_id: int, *, who: str, keep: timedelta = ROTATION) -> str:
        """A new secret; the old one signs beside it for `keep`. Raises UnknownEndpointError."""
        secret = new_secret()
        values = {
            "secret": secret,
            "previous_secret": webhook_endpoints.c.secret if keep else None,
            "previous_until_at": func.now() + keep if keep else None,
        }
        with self._engine.begin() as connection:
            _found(connection, endpoint_id)
            connection.execute(update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint_id).values(values))
            _record(connection, who, "rotate", endpoint_id)
        return secret

    def ping(self, endpoint_id: int, *, who: str) -> str:
        """Let a `ping` be delivered to the endpoint, and return its id.

        Raises UnknownEndpointError, or BadEndpointError.
        """
        with self._engine.begin() as connection:
            if not _found(connection, endpoint_id).enabled:
                raise BadEndpointError(f"Endpoint {endpoint_id} is disabled: enable it first.")
            row = {
                "type": Ping.name,
                "key": str(endpoint_id),
                "payload": Ping(endpoint_id=endpoint_id).dump(),
                "fanned_out_at": func.clock_timestamp(),
            }
            event_id = connection.scalar(insert(events).values(row).returning(events.c.id))
            delivery = {"endpoint_id": endpoint_id, "event_id": event_id, "key": f"{Ping.name}:{endpoint_id}"}
            connection.execute(insert(webhook_deliveries).values(delivery))
            _record(connection, who, "ping", endpoint_id)
        return f"evt_{event_id}"

    def wait_for_attempt(self, endpoint_id: int, event_id: str, seconds: float) -> DeliveryDetails:
        """The delivery of the event to the endpoint after its first attempt, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.deliveries(endpoint_id, event=event_number(event_id))
            if not found:
                # it is being removed
                raise UnknownEndpointError(endpoint_id)
            if found[0].log or time.monotonic() >= deadline:
                return found[0]
            time.sleep(POLL_SECONDS)

    def deliveries(
        self,
        endpoint_id: int,
        *,
        state: str | None = None,
        event: int | None = None,
        before_id: int | None = None,
        limit: int = 50,
    ) -> list[DeliveryDetails]:
        """The newest deliveries first; `event` is the number of the only event. Raises UnknownEndpointError."""
        table = webhook_deliveries.c
        # a range of one: with `=` the planner may take the newest ids of all endpoints, of which one that was paused
        # for weeks has none
        chosen = select(webhook_deliveries).where(table.endpoint_id.between(endpoint_id, endpoint_id))
        if state is not None:
            chosen = chosen.where(table.state == state)
        if event is not None:
            chosen = chosen.where(table.event_id == event)
        if before_id is not None:
            chosen = chosen.where(table.id < before_id)
        # the page first: joined with all events, the planner may read them whole
        page = chosen.order_by(table.endpoint_id.desc(), table.id.desc()).limit(limit).subquery()
        query = select(
            *page.c["id", "event_id"], events.c.type, *page.c["state", "attempts", "due_at"], events.c.occurred_at,
            *page.c["ended_at", "log"],
        ).join(events, events.c.id == page.c.event_id)  # fmt: skip
        with self._engine.connect() as connection:
            _found(connection, endpoint_id)
            rows = connection.execute(query.order_by(page.c.id.desc())).all()
        return [_delivery(row) for row in rows]

    def replay(
        self,
        endpoint_id: int,
        wanted: ReplayFilter,
        *,
        who: str,
        why: str | None = None,
        most: int | None = MAX_REPLAYED,
        report: Callable[[int, float], None] = lambda events, share: None,
    ) -> Replayed:
        """Send these events again, under their own ids, the oldest first.

        Raises UnknownEndpointError or BadEndpointError. Without `only_failed` also what was delivered, and what
        happened before the endpoint was added or while it was disabled. A delivery that waits for its next attempt is
        due now; one that is due within LEASE_SECONDS stays as it is, for it may be under way. Its schedule begins anew
        and the endpoint's hold ends. Each batch is a transaction of its own: what ends a replay half-way leaves the
        rest for another one. `report` gets the number so far, and how much of all events was read.
        """
        types = _checked_types(wanted.types)
        chosen = {
            "types": types,
            "since": wanted.since.isoformat() if wanted.since else None,
            "until": wanted.until.isoformat() if wanted.until else None,
            "only_failed": wanted.only_failed,
            "event": wanted.event,
            "after": wanted.after or None,
        }
        with self._engine.begin() as connection:
            endpoint = _found(connection, endpoint_id)
            first = last = wanted.event
            if wanted.event is not None:
                if connection.scalar(select(events.c.id).where(events.c.id == wanted.event)) is None:
                    raise BadEndpointError(Sentence("There is no event %(id)s.", id=f"evt_{wanted.event}"))
            else:
                first, last = connection.execute(select(func.min(events.c.id), func.max(events.c.id))).one()
            connection.exec_driver_sql(_END_HOLD, {"endpoint": endpoint_id})
            audit_log.record(connection, who=who, what="endpoints.replay", why=why, ids=[endpoint_id], chosen_by=chosen)
        values = {
            "endpoint": endpoint_id,
            "types": types or ([] if wanted.event else list(endpoint.event_types)),
            "since": wanted.since,
            "until": wanted.until,
        }
        statement = _REPLAY_FAILED if wanted.only_failed else _REPLAY
        begin = after = max(wanted.after, (first or 1) - 1)
        last, count = last or 0, 0
        while after < last and (most is None or count < most):
            window = {"after": after, "through": min(after + BATCH, last)}
            with self._engine.begin() as connection:
                count += connection.exec_driver_sql(statement, values | window).rowcount
            after = window["through"]
            report(count, (after - begin) / (last - begin))
        return Replayed(count, after if after < last else None)

    def _require_url(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise BadEndpointError("url is no address.") from None
        schemes = ("https", "http") if self._allow_private else ("https",)
        if parts.scheme not in schemes or not parts.hostname:
            raise BadEndpointError(f"url has to be an address that begins with {schemes[0]}://.")
        if parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
            raise BadEndpointError("url holds no user, no fragment and no space; other than ASCII is escaped.")
        if len(url) > MAX_URL:
            raise BadEndpointError(f"url has at most {MAX_URL} characters.")
        try:
            public_addresses(parts.hostname, port, allow_private=self._allow_private)
        except PrivateAddressError:
            raise BadEndpointError(
                "url leads to a private address: set NOUBA_EVENTS_ALLOW_PRIVATE=true where that is meant."
            ) from None
        except (OSError, UnicodeError):
            # its name may be there tomorrow: a delivery checks again
            return


# windows of ids, and not a number of rows: a filter that little satisfies reads no more than one that all do
_WANTED = """
    AND event.id > %(after)s AND event.id <= %(through)s
    AND (%(types)s::text[] = '{}' OR event.type = ANY(%(types)s))
    AND (%(since)s::timestamptz IS NULL OR event.occurred_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR event.occurred_at < %(until)s)
"""
_AGAIN = (
    "state = 'pending', attempts = 0, due_at = statement_timestamp(), began_at = clock_timestamp(), ended_at = NULL"
)
# Read again once the row is locked: what a worker has leased meanwhile, or another replay has made due, is left alone.
_WAITS = f"delivery.state = 'pending' AND delivery.due_at > clock_timestamp() + interval '{LEASE_SECONDS} seconds'"
_FAILED = f"(delivery.state = 'failed' OR delivery.attempts > 0 AND {_WAITS})"
_REPLAY_FAILED = f"""
UPDATE webhook_deliveries AS delivery SET {_AGAIN} WHERE {_FAILED} AND id = ANY(ARRAY(
    SELECT delivery.id FROM webhook_deliveries AS delivery JOIN events AS event ON event.id = delivery.event_id
    WHERE delivery.endpoint_id = %(endpoint)s AND {_FAILED} {_WANTED}
    ORDER BY event.id))
"""  # noqa: S608
_REPLAY = f"""
INSERT INTO webhook_deliveries AS delivery (endpoint_id, event_id, key)
SELECT %(endpoint)s, event.id, split_part(event.type, '.', 1) || ':' || event.key FROM events AS event
WHERE event.fanned_out_at IS NOT NULL AND event.type <> 'ping' {_WANTED} ORDER BY event.id
ON CONFLICT (event_id, endpoint_id) DO UPDATE SET {_AGAIN} WHERE delivery.state <> 'pending' OR {_WAITS}
"""  # noqa: S608
_END_HOLD = "UPDATE webhook_endpoints SET held_until_at = NULL WHERE id = %(endpoint)s AND held_until_at IS NOT NULL"

_COUNT_PENDING = """
SELECT endpoint.id, counted.pending FROM webhook_endpoints AS endpoint CROSS JOIN LATERAL (
    SELECT count(*) AS pending FROM (SELECT FROM webhook_deliveries
        WHERE endpoint_id = endpoint.id AND state = 'pending' LIMIT %(limit)s) AS seen) AS counted
"""
_REMOVE_DELIVERIES = """
DELETE FROM webhook_deliveries WHERE id = ANY(ARRAY(
    SELECT id FROM webhook_deliveries WHERE endpoint_id = %(endpoint)s ORDER BY id LIMIT %(limit)s))
"""


def _require_room(connection: Connection) -> None:
    if (connection.scalar(select(func.count()).select_from(webhook_endpoints)) or 0) >= MAX_ENDPOINTS:
        raise BadEndpointError(f"There are {MAX_ENDPOINTS} endpoints: remove one first.")


def _found(connection: Connection, endpoint_id: int) -> Any:
    row = connection.execute(select(*_SHOWN).where(webhook_endpoints.c.id == endpoint_id)).one_or_none()
    if row is None:
        raise UnknownEndpointError(endpoint_id)
    return row


def _details(row: Any) -> EndpointDetails:
    return EndpointDetails(**row._mapping)


def _delivery(row: Any) -> DeliveryDetails:
    due_at = row.due_at if row.state == "pending" else None
    return DeliveryDetails(
        row.id, f"evt_{row.event_id}", row.type, row.state, row.attempts, due_at, row.occurred_at, row.ended_at, row.log
    )


def _checked_types(types: Sequence[str]) -> list[str]:
    """The types without repetition; `*` and none mean every type. Raises BadEndpointError."""
    found = sorted(set(types) - {"*"})
    if "*" in types:
        return []
    if unknown := [one for one in found if one not in EVENT_TYPES]:
        raise BadEndpointError(f"There is no event type {unknown[0]!r}; there are {', '.join(EVENT_TYPES)}.")
    return found


def _checked_description(description: str | None) -> str | None:
    if description is not None and (len(description) > MAX_DESCRIPTION or "\0" in description):
        raise BadEndpointError(f"description has at most {MAX_DESCRIPTION} characters.")
    return description


def _record(
    connection: Connection,
    who: str,
    what: str,
    endpoint_id: int,
    fields: Sequence[str] = (),
    why: str | None = None,
) -> None:
    audit_log.record(
        connection,
        who=who,
        what=f"endpoints.{what}",
        why=why,
        ids=[endpoint_id],
        chosen_by={"fields": list(fields)} if fields else None,
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(values, default=datetime.isoformat))
    return plain
