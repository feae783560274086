"""Each example against the running system, both ways: it calls the API, and it receives events, also after a kill."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from standardwebhooks import Webhook

from local.postgres import Postgres
from local.psp.satim_bank import Bank
from local.psp.server import simulator
from local.psp.signed_webhooks import Payment, signed
from local.rabbitmq import RabbitMq
from local.s3 import BUCKET, S3
from tests.command_line import nouba
from tests.examples.programs import PROGRAMS, Example
from tests.playback.processes import SECRET, RunningPlayback
from tests.queues import delete_virtual_host, make_virtual_host
from tests.transcoder import film_cache
from tests.waiting import wait_until
from tests.webhook_gateway.events_out.processes import RunningEvents, due_now
from tests.webhook_gateway.processes import (
    SECRETS,
    Database,
    Running,
    RunningGateway,
    RunningWorker,
    deliver,
    new_database,
    paid,
)
from tests.webhook_gateway.providers.servers import serving

_PROJECT = Path(__file__).parents[2]
TOKEN = "the-token-of-the-examples"
_MERCHANT = {"username": "school", "password": "bank-password"}
_RECIPE = (
    "-f", "lavfi", "-i", "testsrc2=size=128x72:rate=10:duration=1",
    "-f", "lavfi", "-i", "sine=duration=1",
    "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac",
)  # fmt: skip
#: Users whose wallets change, and each of them so often before the kill and after it.
_USERS, _PAYMENTS = (11, 12, 13, 14), 3


@dataclass(frozen=True, slots=True)
class System:
    """Everything of Nouba that a school's application meets."""

    database: Database
    gateway: RunningGateway
    simulator_url: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.gateway.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)


@pytest.fixture(scope="module")
def system(
    migrated_server: Postgres,
    rabbitmq_server: RabbitMq,
    s3_server: S3,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    with ExitStack() as running:
        database = running.enter_context(new_database(migrated_server))
        rabbitmq_url = make_virtual_host(rabbitmq_server)
        running.callback(delete_virtual_host, rabbitmq_server, rabbitmq_url)
        bank = simulator(
            Bank(),
            username=_MERCHANT["username"],
            password=_MERCHANT["password"],
            chargily_secrets=(SECRETS["chargily"],),
        )
        simulator_url = running.enter_context(serving(bank))
        s3 = {
            "NOUBA_S3_ENDPOINT_URL": s3_server.url,
            "NOUBA_S3_BUCKET": BUCKET,
            "AWS_ACCESS_KEY_ID": s3_server.access_key_id,
            "AWS_SECRET_ACCESS_KEY": s3_server.secret_access_key,
        }
        playback = running.enter_context(RunningPlayback(folder / "playback.log", database.url, s3_server))
        gateway = RunningGateway(
            folder / "gateway.log",
            database.url,
            rabbitmq_url,
            **s3,
            NOUBA_API_TOKENS=TOKEN,
            NOUBA_CHECKOUT_RETURN_URLS="http://127.0.0.1",
            NOUBA_EVENTS_ALLOW_PRIVATE="true",
            NOUBA_GATEWAY_PROCESSES="1",
            NOUBA_PLAYBACK_SECRETS=SECRET.decode(),
            NOUBA_PLAYBACK_URL=playback.url,
            NOUBA_PSP_CHARGILY_BASE_URL=simulator_url,
        )
        running.enter_context(gateway)
        running.enter_context(RunningWorker(folder / "payments.log", database.url, rabbitmq_url))
        running.enter_context(
            RunningEvents(folder / "events.log", database.url, rabbitmq_url, NOUBA_EVENTS_TIMEOUT_SECONDS="10")
        )
        (folder / "scratch").mkdir()
        transcoder = {
            "NOUBA_DATABASE_URL": database.url,
            "NOUBA_RABBITMQ_URL": rabbitmq_url,
            **s3,
            "NOUBA_TRANSCODER_SCRATCH_DIR": str(folder / "scratch"),
            "NOUBA_TRANSCODER_SCRATCH_RESERVE_BYTES": "1000000",
            "NOUBA_TRANSCODER_PRESET": "ultrafast",
            "NOUBA_TRANSCODER_CONCURRENCY": "1",
        }
        running.enter_context(Running(["transcoder", "worker"], folder / "transcoder.log", transcoder))
        yield System(database, gateway, simulator_url)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == "flask" else pytest.mark.slow) for name in PROGRAMS],
)
def example(
    request: pytest.FixtureRequest, system: System, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """The example with an endpoint of its own, which asks for order."""
    name = request.param
    settings = {"NOUBA_URL": system.gateway.url, "NOUBA_TOKEN": TOKEN}
    example = Example(name, tmp_path_factory.mktemp(name), settings)
    with system.client() as client:
        wanted = {"url": f"{example.url}/nouba-events", "event_types": ["*"], "ordered": True}
        endpoint = client.post("/api/v1/webhook-endpoints", json=wanted).raise_for_status().json()
        try:
            example.start(NOUBA_EVENTS_SECRET=endpoint["secret"])
            example.secret, example.endpoint_id = endpoint["secret"], int(endpoint["id"])
            yield example
            assert TOKEN not in example.log
        finally:
            example.kill()
            client.delete(f"/api/v1/webhook-endpoints/{endpoint['id']}")


def test_an_order_is_paid_and_the_school_sees_it(system: System, example: Example) -> None:
    system.database.execute("INSERT INTO users (id) VALUES (7) ON CONFLICT DO NOTHING")
    number = f"{example.name.upper()}1001"
    with httpx.Client(base_url=example.url, timeout=30) as school:
        # When the payer is sent to the provider, pays, and comes back
        sent = school.post(f"/orders/{number}/pay")
        assert sent.status_code == 303, sent.text
        assert sent.headers["Location"].startswith(system.simulator_url)
        assert school.post(f"/orders/{number}/pay").headers["Location"] == sent.headers["Location"]
        assert school.get(f"/orders/{number}").json() == {"order_number": number, "is_paid": False}
        httpx.post(f"{sent.headers['Location']}/paid").raise_for_status()
        reference = sent.headers["Location"].rpartition("/")[2]
        payment = Payment(reference=reference, amount_minor=250_000, user_id=7, order_number=number)
        with httpx.Client(base_url=system.gateway.url) as provider:
            assert deliver(provider, signed("chargily", [SECRETS["chargily"]], payment)).status_code == 200

        # Then the order is paid, and the event of it has arrived
        wait_until(lambda: school.get(f"/orders/{number}").json()["is_paid"], 20, "the order is not paid")
    query = (
        "SELECT 'evt_' || events.id FROM events JOIN payments ON payments.id::text = events.key"
        " WHERE type = 'payment.completed' AND order_number = %s"
    )
    wait_until(lambda: _within(system.database.rows(query, number), example), 20, "the event did not arrive")


def test_a_lesson_is_uploaded_and_played(system: System, example: Example) -> None:
    system.database.execute("INSERT INTO courses (title) VALUES (%s)", f"Optics by {example.name}")
    ((course_id,),) = system.database.rows("SELECT id FROM courses WHERE title = %s", f"Optics by {example.name}")
    film = film_cache.make(_RECIPE, film_cache.folder_for(" ".join(_RECIPE).encode()) / "example.mp4").read_bytes()
    with httpx.Client(base_url=example.url, timeout=30) as school:
        # Given a refusal of the API, which says what to do
        refused = school.get(f"/courses/{course_id}/lesson")
        assert refused.status_code == 409, refused.text
        assert "no lesson yet" in refused.json()["error"]

        # When a teacher's browser uploads a film
        wish = {"filename": "lesson.mp4", "size": len(film), "content_type": "video/mp4"}
        ticket = school.post(f"/courses/{course_id}/upload", json=wish).json()
        httpx.put(ticket["url"], content=film, headers=ticket["headers"], timeout=30).raise_for_status()
        done = {"upload_id": ticket["upload_id"], "key": ticket["key"]}
        assert school.post(f"/courses/{course_id}/upload/complete", json=done).status_code == 202

        # Then the school is announced that the lesson is ready
        query = "SELECT 'evt_' || id FROM events WHERE type = 'lesson.ready' AND key = %s"
        announced = wait_until(lambda: system.database.rows(query, str(course_id)), 60, "the lesson is not ready")
        wait_until(lambda: _within(announced, example), 20, "the event did not arrive")

        # and a player plays it
        address = school.get(f"/courses/{course_id}/lesson").json()["master_url"]
    for _ in range(2):
        playlist = httpx.get(address).raise_for_status().text
        address = urljoin(address, next(line for line in playlist.splitlines() if line and line[0] != "#"))
    assert httpx.get(address).raise_for_status().content


def test_the_documented_upload_becomes_a_lesson(system: System, tmp_path: Path) -> None:
    page = (_PROJECT / "docs" / "integration.md").read_text()
    (command,) = re.findall(r"`bin/(nouba courses add [^`]*)`", page)
    added = nouba(*shlex.split(command)[1:], NOUBA_DATABASE_URL=system.database.url)
    assert added.stdout == "7\n"
    film = film_cache.make(_RECIPE, film_cache.folder_for(" ".join(_RECIPE).encode()) / "example.mp4")
    (tmp_path / "lesson.mp4").write_bytes(film.read_bytes())
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)

    uploaded = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"GATEWAY_URL": system.gateway.url, "TOKEN": TOKEN},
        capture_output=True,
        text=True,
    )

    assert uploaded.returncode == 0, uploaded.stderr
    accepted, progress = uploaded.stdout.splitlines()
    assert "'status': 'accepted'" in accepted
    # the upload is known at once, whether a worker has it or not
    assert "'status': 'none'" not in progress
    with system.client() as client:
        path = "/api/v1/courses/7/video"
        wait_until(lambda: client.get(path).json()["status"] == "completed", 60, "the lesson is not ready")


def test_a_killed_receiver_misses_no_event_and_each_key_keeps_its_order(system: System, example: Example) -> None:
    before = int(system.database.rows("SELECT coalesce(max(id), 0) FROM events")[0][0])
    system.database.execute("INSERT INTO users (id) SELECT unnest(%s) ON CONFLICT DO NOTHING", list(_USERS))
    seen = len(example.handled())

    # When it is killed amid the events of some payments, and more are paid while it is away
    _pay(system)
    wait_until(lambda: len(example.handled()) >= seen + 5, 20, "no event arrived")
    example.kill()
    _pay(system)
    _settled(system, before, 2 * len(_USERS) * _PAYMENTS)
    waiting = "SELECT 1 FROM webhook_deliveries WHERE endpoint_id = %s AND state = 'pending' AND attempts > 0"
    wait_until(lambda: system.database.rows(waiting, example.endpoint_id), 20, "nothing was tried meanwhile")

    # When it is there again
    example.start()

    # Then every event arrives
    due_now(system.database)
    pending = "SELECT 1 FROM webhook_deliveries WHERE endpoint_id = %s AND state <> 'delivered'"
    wait_until(lambda: not system.database.rows(pending, example.endpoint_id), 30, "events are not delivered")
    recorded = system.database.rows("SELECT 'evt_' || id, type, key FROM events WHERE id > %s ORDER BY id", before)
    handled = [one for one in example.handled() if one in {number for number, _, _ in recorded}]
    assert sorted(handled) == sorted(number for number, _, _ in recorded)
    # and those of each wallet in the order in which they happened
    ways: list[dict[str, list[str]]] = [defaultdict(list), defaultdict(list)]
    places = {number: key for number, kind, key in recorded if kind == "wallet.changed"}
    for way, numbers in zip(ways, ([number for number, _, _ in recorded], handled), strict=True):
        for number in numbers:
            if number in places:
                way[places[number]].append(number)
    # payments that are settled together change a wallet once, but none is from before the kill and from after it
    assert len(ways[0]) == len(_USERS)
    assert min(len(numbers) for numbers in ways[0].values()) >= 2
    assert ways[0] == ways[1]


def test_a_forged_a_changed_and_an_old_event_are_refused(system: System, example: Example) -> None:
    before = example.handled()
    body = json.dumps({"id": "msg_1", "type": "payment.completed", "data": {"payment_id": 1}})
    now = datetime.now(UTC)

    def answer(secret: str = example.secret, at: datetime = now, sent: str = body) -> int:
        headers = {
            "content-type": "application/json",
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign("msg_1", at, body),
        }
        return httpx.post(f"{example.url}/nouba-events", content=sent, headers=headers).status_code

    assert answer("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=") == 401
    assert answer(sent=body.replace("1}", "2}")) == 401
    assert answer(at=now - timedelta(minutes=10)) == 401
    assert example.handled() == before
    # while the genuine one is taken, once
    assert [answer(), answer()] == [204, 204]
    assert example.handled() == [*before, "msg_1"]


def _within(rows: list[tuple[str, ...]], example: Example) -> bool:
    return bool(rows) and {row[0] for row in rows} <= set(example.handled())


def _pay(system: System) -> None:
    with httpx.Client(base_url=system.gateway.url, timeout=30) as provider:
        for _ in range(_PAYMENTS):
            for user_id in _USERS:
                assert deliver(provider, paid(user_id=user_id)).status_code == 200


def _settled(system: System, before: int, payments: int) -> None:
    query = "SELECT count(*) FROM events WHERE id > %s AND type = 'payment.completed'"
    wait_until(lambda: system.database.rows(query, before)[0][0] == payments, 30, "the payments are not settled")
