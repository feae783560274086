"""Thousands of odd requests: none is answered 5xx, none raises, and nothing is kept that should not be."""

import hashlib
import hmac
import itertools
import json
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, urlsplit

import pytest

from local.postgres import Postgres
from shared.runtime.visible_text import is_plain, without_directions
from tests.console.clients import Person, console_of
from tests.fuzz.corpus import DOCUMENTS, TEXTS, broken_http, field_documents, request
from tests.stats.api.processes import RunningApi
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, new_database

TOKEN = "token-of-the-fuzzing-tests"
ALLOWED = b"Authorization: Bearer " + TOKEN.encode()
#: RFC 9112, 6.1: a transfer coding that the server does not understand.
NOT_IMPLEMENTED = 501
TOO_MANY = 429
#: Another client than the school: twenty wrong tokens, and the client's requests are refused for a minute.
STRANGER = "127.0.0.2"
PROVIDERS = (b"generic", b"stripe", b"chargily", b"standard_webhooks")
SIGNATURES = (
    b"signature",
    b"stripe-signature",
    b"webhook-signature",
    b"webhook-id",
    b"webhook-timestamp",
    b"x-signature",
)


def answers(url: str, requests: Iterable[bytes], client: str = "127.0.0.1") -> list[tuple[int | None, bytes]]:
    """Status and request of each, None where the connection was closed without an answer."""
    address = (urlsplit(url).hostname, urlsplit(url).port)

    def ask(raw: bytes) -> tuple[int | None, bytes]:
        with socket.create_connection(address, timeout=30, source_address=(client, 0)) as connection:
            received = b""
            try:
                connection.sendall(raw)
                # some of these have no end: the server must not wait for more
                connection.shutdown(socket.SHUT_WR)
                while len(received) < 12 and (piece := connection.recv(4096)):
                    received += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
        return (int(received[9:12]) if received[:5] == b"HTTP/" else None), raw

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, requests))


def require_no_fault(found: list[tuple[int | None, bytes]]) -> Counter[int | None]:
    faults = [(status, raw[:200]) for status, raw in found if status is not None and status >= 500]
    assert [fault for fault in faults if fault[0] != NOT_IMPLEMENTED] == []
    assert all(b"ransfer-" in raw for _, raw in faults)
    return Counter(status for status, _ in found)


@pytest.fixture(scope="module")
def database(migrated_server: Postgres) -> Iterator[Database]:
    with new_database(migrated_server) as made:
        made.execute("INSERT INTO users (name) VALUES ('a')")
        made.execute("INSERT INTO courses (id, title) VALUES (7, 'Optics')")
        yield made


@pytest.fixture(scope="module")
def gateway(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    # the limits on strangers are not what is checked here
    limits = {"NOUBA_GATEWAY_UNVERIFIED_PER_SECOND": "100000", "NOUBA_GATEWAY_UNSIGNED_PER_SECOND": "100000"}
    log = tmp_path_factory.mktemp("fuzz") / "log"
    with RunningGateway(log, database.url, NOUBA_API_TOKENS=TOKEN, **limits) as running:
        yield running


def strangers() -> Iterator[bytes]:
    """Requests that prove nothing."""
    yield from broken_http()
    for text in TEXTS:
        quoted = quote_from_bytes(text).encode()
        for target in (text, quoted):
            for path in (b"/", b"/webhooks/", b"/api/courses/", b"/api/v1/", b"/docs/", b"/healthz?a="):
                yield request(b"GET", path + target)
            yield request(b"POST", b"/webhooks/" + target, body=b"{}")
            yield request(b"GET", b"/webhooks/satim?orderId=" + target + b"%20&mdOrder=" + target + b"%20")
            yield request(b"POST", b"/webhooks/satim", body=b"orderId=" + target + b"%20&operation=" + target)
        for provider in PROVIDERS:
            yield request(b"POST", b"/webhooks/" + provider, body=text)
            for header in SIGNATURES:
                yield request(b"POST", b"/webhooks/" + provider, header + b": " + text, body=b'{"id":"a"}')
        for header in (b"Host", b"Authorization", b"X-PSP-Provider", b"Content-Type", b"Content-Encoding", b"Cookie"):
            yield request(b"POST", b"/api/payments/webhook", header + b": " + text, body=b"{}")
            yield request(b"POST", b"/api/payments", header + b": Bearer " + text, body=b"{}")
        yield request(text or b"X", b"/webhooks/generic")
    for document, provider in itertools.product(DOCUMENTS, PROVIDERS):
        yield request(b"POST", b"/webhooks/" + provider, body=document)
        yield request(b"POST", b"/api/payments/webhook", b"X-PSP-Provider: " + provider, body=document)


def test_strangers_get_no_5xx_and_leave_nothing(gateway: RunningGateway, database: Database) -> None:
    with database.unchanged():
        found = answers(gateway.url, strangers(), client=STRANGER)

    statuses = require_no_fault(found)
    assert len(found) > 2000
    assert statuses[200] < len(TEXTS) * 3, "only the health check is answered 200"
    assert "Traceback" not in gateway.log


PAYMENT: dict[str, object] = {
    "provider": "generic",
    "provider_reference": "p",
    "order_number": "o",
    "user_id": 1,
    "amount": 100,
    "currency": "DZD",
}
WISH: dict[str, object] = {"filename": "a.mp4", "size": 1000, "content_type": "video/mp4"}
COMPLETION: dict[str, object] = {
    "upload_id": "u",
    "key": "uploads/7/" + "0" * 32,
    "parts": [{"part_number": 1, "etag": "e"}],
}
ENDPOINT: dict[str, object] = {"url": "https://school.example/", "event_types": [], "description": "d"}
CHAPTER: dict[str, object] = {"start_seconds": 0, "title": "t"}


def school() -> Iterator[bytes]:
    """Requests with the school's token whose fields are odd."""
    for document in (*field_documents(PAYMENT), *DOCUMENTS):
        yield request(b"POST", b"/api/payments", ALLOWED, body=document)
    for text in TEXTS:
        for path in (b"/api/courses/%b/keys/a", b"/api/courses/7/keys/%b"):
            yield request(b"GET", path % quote_from_bytes(text).encode(), ALLOWED)
    for path, fields in ((b"/api/courses/8/video", WISH), (b"/api/courses/8/video/complete", COMPLETION)):
        for document in (*field_documents(fields), *DOCUMENTS):
            yield request(b"POST", path, ALLOWED, body=document)
    for document in field_documents(ENDPOINT):
        yield request(b"POST", b"/api/v1/webhook-endpoints", ALLOWED, body=document)
    for document in field_documents(CHAPTER):
        yield request(b"PUT", b"/api/v1/courses/7/video/chapters", ALLOWED, body=b'{"chapters":[%b]}' % document)


def test_the_schools_own_odd_requests_get_no_5xx_but_for_the_missing_bucket(
    gateway: RunningGateway, database: Database
) -> None:
    found = answers(gateway.url, school())

    # a well-formed upload finds no bucket here
    others = [(status, raw) for status, raw in found if not (status == 503 and b"/video" in raw)]
    assert require_no_fault(others)[TOO_MANY] == 0, "each request is read"
    assert len(others) > 500
    assert "Traceback" not in gateway.log
    # texts of people came in where they are one line that stays in its place, in whatever script
    taken = [raw.partition(b"\r\n\r\n")[2] for status, raw in found if status in (200, 201)]
    titles = [json.loads(body)["chapters"][0]["title"] for body in taken if body.startswith(b'{"chapters"')]
    # a title is kept without changes of direction
    texts = [without_directions(title).strip() for title in titles]
    texts += [text for (text,) in database.rows("SELECT description FROM webhook_endpoints") if text]
    assert [text for text in texts if not is_plain(text)] == []
    assert {"\u200f\u0634\u0631\u062d (2)\u200e", "\U0001f469\u200d\U0001f3eb"} <= set(texts)
    # what was registered is what the documentation allows: printable names of the one user
    assert database.rows(
        r"SELECT count(*) FROM payments WHERE provider_reference !~ '^[\x21-\x7e]+$' OR user_id <> 1"
    ) == [(0,)]


def test_a_genuine_but_odd_webhook_is_kept_or_put_aside_and_never_a_5xx(
    gateway: RunningGateway, database: Database
) -> None:
    fields: dict[str, object] = {
        "event_id": "e",
        "transaction_id": "t",
        "order_id": "o",
        "amount": 100,
        "currency": "DZD",
        "status": "completed",
        "user_id": 1,
    }

    def signed(body: bytes) -> bytes:
        signature = hmac.new(SECRETS["generic"].encode(), body, hashlib.sha256).hexdigest().encode()
        return request(b"POST", b"/webhooks/generic", b"X-Signature: " + signature, body=body)

    found = answers(gateway.url, map(signed, (*field_documents(fields), *DOCUMENTS)))

    statuses = require_no_fault(found)
    assert set(statuses) == {200}
    states = {row[0] for row in database.rows("SELECT DISTINCT state FROM webhook_events")}
    assert states <= {"received", "quarantined"}
    assert "Traceback" not in gateway.log


def test_the_statistics_get_no_5xx(migrated_server: Postgres, tmp_path: Path) -> None:
    def odd() -> Iterator[bytes]:
        yield from broken_http()
        for text in TEXTS:
            quoted = quote_from_bytes(text).encode()
            for path in (
                b"/api/stats/",
                b"/?day=",
                b"/?lang=",
                b"/api/stats?from=",
                b"/api/stats/latest?compare=",
                b"/",
            ):
                yield request(b"GET", path + quoted, ALLOWED)
                yield request(b"GET", path + text, ALLOWED)
            for header in (b"Accept-Language", b"Accept-Encoding", b"If-None-Match", b"X-Forwarded-For", b"Cookie"):
                yield request(b"GET", b"/", ALLOWED, header + b": " + text)
            for scheme in (b"", b"Basic ", b"Bearer "):
                yield request(b"GET", b"/api/stats/latest", b"Authorization: " + scheme + text)

    with new_database(migrated_server) as database:
        api = RunningApi(tmp_path / "log", database.url, NOUBA_API_TOKENS=TOKEN)
        try:
            require_no_fault(answers(api.url, odd()))
            assert "Traceback" not in api.log
        finally:
            api.kill()


FIELDS = (
    "queue", "actor", "cause", "error", "since", "state", "provider", "reason", "before", "to", "words", "at", "limit",
)  # fmt: skip
PAGES = ("/dead", "/webhooks", "/lessons", "/payments", "/wallets/1", "/endpoints/1", "/audit", "/language/en")
FORMS: dict[str, dict[str, Any]] = {
    "/dead/preview": {"which": "all", "why": "w", "up_to": "1", "last_at": "2026-01-01T00:00:00+00:00", "error": "x"},
    "/dead/discard": {"which": "ticked", "why": "w", "id": "1"},
    "/webhooks/1/resolve": {"decision": "dismiss", "why": "w"},
    "/queues/videos/pause": {"why": "w"},
    "/payments/search": {"words": "w", "state": "completed"},
    "/payments/1/refund": {"why": "w", "key": "console-1", "amount": "1", "confirmed": "yes"},
    "/endpoints/1/switch": {"what": "disable", "why": "w"},
    "/endpoints/1/replay": {"since": "w", "which": "failed", "why": "w"},
    "/enter": {"token": "t", "to": "/"},
}
READING_MANY = {"/dead/preview", "/payments/1/refund"}


def test_the_consoles_fields_get_no_5xx_and_change_nothing_they_should_not(
    database_url: str, rabbitmq_url: str
) -> None:
    # Given an operator
    app = console_of(database_url, rabbitmq_url)
    person = Person(app)
    person.enter()
    hidden = person.hidden("/queues")
    found: Counter[int] = Counter()
    database = Database(database_url)
    # and a user, an endpoint and a payment that pages and forms are about
    database.execute("INSERT INTO users (id, name) VALUES (1, 'a') ON CONFLICT DO NOTHING")
    database.execute(
        "INSERT INTO webhook_endpoints (id, url, secret) VALUES (1, 'https://school.example/', 's')"
        " ON CONFLICT DO NOTHING"
    )
    database.execute(
        "INSERT INTO payments (id, provider, provider_reference, user_id, amount_minor, currency, status)"
        " VALUES (1, 'stripe', 'pi_1', 1, 100, 'DZD', 'completed') ON CONFLICT DO NOTHING"
    )

    # When all filters of a page, and each field of a form, hold every odd text
    for text in TEXTS:
        quoted = quote_from_bytes(text)
        query = "&".join(f"{field}={quoted}" for field in FIELDS)
        for page in PAGES:
            found[person.get(f"{page}?{query}").status_code] += 1
        found[person.get(f"/webhooks/{quoted}").status_code] += 1
        for form, fields in FORMS.items():
            odd = dict.fromkeys(fields, text.decode("utf-8", "replace"))
            # one after the other where the form reads more than one
            for named in ({field: odd[field]} for field in fields) if form in READING_MANY else (odd,):
                answer = person._client.post(form, data={**hidden, **fields, **named}, base_url="http://localhost")
                found[answer.status_code] += 1
        database.execute("DELETE FROM queue_pauses")

    # Then none is a fault, and what is written down can be read
    assert {status for status in found if status >= 500} == set(), found
    assert sum(found.values()) > 400
    assert person.get("/audit").status_code == 200
    reasons = [why for (why,) in database.rows("SELECT DISTINCT why FROM operator_acts") if why]
    assert all(is_plain(why.replace("\t", " ")) for why in reasons)
    assert database.rows("SELECT count(*) FROM outbox") == [(0,)]
