"""Heads of the chain are kept beyond the database, and a chain that was made anew does not fit them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import boto3
import psycopg2
import pytest
from sqlalchemy import Engine

from local.s3 import BUCKET, S3
from services.webhook_gateway.errors import NotReadyError
from services.webhook_gateway.integrity.anchors import Anchoring, Anchors, FileAnchors, S3Anchors, open_anchors
from services.webhook_gateway.integrity.hash_chain import ChainHead, HashChainWriter, read_head
from services.webhook_gateway.integrity.verify_chain import verify
from tests.command_line import nouba
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database

FIRST, SECOND = ChainHead(9, b"a" * 32), ChainHead(10, b"b" * 32)


@pytest.fixture(params=["file", "s3"])
def anchors(request: pytest.FixtureRequest, tmp_path: Path) -> Anchors:
    if request.param == "file":
        return FileAnchors(tmp_path / "heads")
    server: S3 = request.getfixturevalue("s3_server")
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key_id,
        aws_secret_access_key=server.secret_access_key,
    )
    return S3Anchors(client, BUCKET, f"{tmp_path.name}/", 0)


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


def add_event(database: Database, key: str) -> None:
    database.execute(
        "INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256) VALUES ('generic', %s, 'b', 'b')", key
    )


def seal(engine: Engine) -> None:
    with engine.connect() as connection:
        HashChainWriter(connection).seal()


def test_heads_are_kept_in_the_order_of_the_chain(anchors: Anchors) -> None:
    assert anchors.read() == []

    anchors.write(FIRST, datetime.now(UTC))
    anchors.write(SECOND, datetime.now(UTC))

    assert anchors.read() == [FIRST, SECOND]


def test_the_worker_anchors_the_head_and_a_chain_made_anew_is_found(
    engine: Engine, database: Database, anchors: Anchors
) -> None:
    # Given a sealed event, and the thread of a worker
    add_event(database, "one")
    seal(engine)
    with engine.connect() as connection:
        head = read_head(connection)
    thread = Anchoring(database.url, anchors, every_seconds=0.1)
    thread.start()

    # When it has anchored the head
    try:
        wait_until(lambda: list(anchors.read()) == [head], message="the head is not anchored")
    finally:
        thread.stop()
    assert verify(engine, anchors=anchors.read()).faults == []

    # And the owner changes the event and makes the chain anew
    owner = psycopg2.connect(database.url)
    with owner, owner.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE webhook_events SET body = 'x'")
        cursor.execute("DELETE FROM seals")
    owner.close()
    seal(engine)

    # Then the chain fits itself, and not the anchor
    assert verify(engine).faults == []
    faults = [str(fault) for fault in verify(engine, anchors=anchors.read()).faults]
    assert faults == ["seal 1: is not the one that was noted: the chain was made anew"]


def test_the_command_checks_every_anchor(engine: Engine, database: Database, tmp_path: Path) -> None:
    add_event(database, "one")
    seal(engine)
    heads = FileAnchors(tmp_path / "heads")
    heads.write(ChainHead(1, b"x" * 32), datetime.now(UTC))
    settings = {"NOUBA_DATABASE_URL": database.url, "NOUBA_LEDGER_ANCHOR": f"file://{tmp_path}/heads"}

    reported = nouba("ledger", "verify", "--anchors", "--json", **settings)

    assert reported.returncode == 1
    assert [fault["fault"] for fault in json.loads(reported.stdout)["faults"]] == [
        "is not the one that was noted: the chain was made anew"
    ]


@pytest.mark.parametrize(
    "url", ["/var/lib/heads", "file://host/heads", "s3://", "https://example.org/heads", "file:heads"]
)
def test_an_address_that_keeps_no_anchors_is_refused(url: str) -> None:
    with pytest.raises(NotReadyError, match="NOUBA_LEDGER_ANCHOR"):
        open_anchors(url, None, 0)


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "heads").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="heads"):
        FileAnchors(tmp_path / "heads").write(FIRST, datetime.now(UTC))

    assert not (tmp_path / "elsewhere").exists()
