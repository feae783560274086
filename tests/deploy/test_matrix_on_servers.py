"""The role matrix on a real RabbitMQ and a real S3 server: every cell that has to be refused is tried."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pika
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from deploy import make_secrets, role_matrix
from local.rabbitmq import RabbitMq
from local.s3 import S3
from shared.contracts.routes import QUEUES
from shared.messaging.topology import declarations
from tests.queues import virtual_host_to_hurt

PROJECT = Path(__file__).parents[2]
DEFINITIONS = json.loads((PROJECT / "deploy/rabbitmq/definitions.json").read_text())
MATRIX = role_matrix.read()
PASSWORD = "a-password-of-the-tests"
REFUSED = 403


@pytest.fixture
def addresses(spare_rabbitmq: RabbitMq) -> Iterator[dict[str, str]]:
    """The address of each user of the containers, in a virtual host with the queues of the containers."""
    spare_rabbitmq.start()
    management = spare_rabbitmq.management_url
    with virtual_host_to_hurt(spare_rabbitmq) as owner:
        vhost = urlsplit(owner).path.removeprefix("/")
        with pika.BlockingConnection(pika.URLParameters(owner)) as connection:
            for queue in QUEUES:
                for one in declarations(queue):
                    connection.channel().queue_declare(one.name, durable=True, arguments=dict(one.arguments))
        users = {permission["user"]: f"{vhost}-{permission['user']}" for permission in DEFINITIONS["permissions"]}
        for permission in DEFINITIONS["permissions"]:
            rights = {kind: permission[kind] for kind in ("configure", "write", "read")}
            name = users[permission["user"]]
            httpx.put(f"{management}/api/users/{name}", json={"password": PASSWORD, "tags": ""}).raise_for_status()
            httpx.put(f"{management}/api/permissions/{vhost}/{name}", json=rights).raise_for_status()
        server = urlsplit(owner).netloc.rpartition("@")[2]
        yield {user: f"amqp://{name}:{PASSWORD}@{server}/{vhost}" for user, name in users.items()}
        for name in users.values():
            httpx.delete(f"{management}/api/users/{name}").raise_for_status()


#: The name of a channel's method, and what it is given.
Act = tuple[str, tuple[str | bytes, ...], dict[str, Any]]


def is_refused(address: str, act: Act) -> bool:
    method, arguments, options = act
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            getattr(channel, method)(*arguments, **options)
        except pika.exceptions.ChannelClosedByBroker as error:
            return bool(error.reply_code == REFUSED)
    return False


def cells_of(rights: dict[str, list[str]]) -> Iterator[tuple[bool, Act]]:
    """Whether a user with `rights` may do it, and what it is."""
    for queue in QUEUES:
        may_read = queue in rights["consumes"]
        for one in declarations(queue):
            yield may_read, ("basic_get", (one.name,), {})
            yield may_read, ("queue_purge", (one.name,), {})
            if queue not in {*rights["consumes"], *rights["publishes"]}:
                yield False, ("queue_declare", (one.name,), {"durable": True, "arguments": dict(one.arguments)})
                yield False, ("queue_delete", (one.name,), {})
                yield False, ("queue_bind", (one.name, "amq.topic", "#"), {})
    yield False, ("queue_declare", ("mine",), {})
    yield False, ("exchange_declare", ("mine",), {})
    yield False, ("basic_publish", ("amq.topic", "x", b""), {})


def test_a_user_of_rabbitmq_consumes_and_declares_what_the_matrix_says(addresses: dict[str, str]) -> None:
    wrong, tried = [], 0
    for user, address in addresses.items():
        for may, act in cells_of(MATRIX["queues"][user]):
            tried += not may
            if is_refused(address, act) == may:
                wrong.append((user, act))
    assert wrong == []
    assert tried > 100


def test_a_user_that_publishes_nothing_is_refused(addresses: dict[str, str]) -> None:
    # RabbitMQ restricts nobody else to single queues of the default exchange: tests/messaging/test_forged_messages.py
    silent = [user for user, rights in MATRIX["queues"].items() if not rights["publishes"]]

    assert silent == ["console"]
    for queue in QUEUES:
        assert is_refused(addresses["console"], ("basic_publish", ("", queue), {"body": b""}))


class S3OfTheContainers(S3):
    """The server with the identities of the containers, beside one that may do everything."""

    def _write_identities(self) -> None:
        super()._write_identities()
        path = self.folder / "identities.json"
        found = json.loads(path.read_text())
        found["identities"] += [
            {
                "name": name,
                "credentials": [{"accessKey": f"{name}-key-id", "secretKey": f"{name}-{PASSWORD}"}],
                "actions": actions,
            }
            for name, actions in make_secrets.S3_ACTIONS.items()
        ]
        path.write_text(json.dumps(found))


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3OfTheContainers]:
    server = S3OfTheContainers(tmp_path / "s3")
    server.start()
    yield server
    server.destroy()


def client(url: str, key_id: str, secret: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=config,
    )


BUCKET = "nouba"
RULE = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
#: What no service may do: each rules objects of all services.
SETTINGS: dict[str, dict[str, Any]] = {
    "put_bucket_lifecycle_configuration": {"LifecycleConfiguration": {"Rules": [RULE]}},
    "delete_bucket_lifecycle": {},
    "put_bucket_cors": {"CORSConfiguration": CORS},
    "delete_bucket_cors": {},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    "put_bucket_acl": {"ACL": "public-read"},
    "put_bucket_policy": {"Policy": "{}"},
    "put_bucket_tagging": {"Tagging": {"TagSet": []}},
    "delete_bucket": {},
}
#: A folder of each service, and one of none.
FOLDERS = ("hls", "uploads", "anchors")
SERVICES = [name for name in make_secrets.S3_ACTIONS if name != "bucket"]


def is_denied(own: Any, method: str, options: dict[str, Any]) -> bool:
    try:
        answer = getattr(own, method)(Bucket=BUCKET, **options)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDenied", "InvalidRequest")
    # of several that are deleted at once, each has its own answer
    return [one["Code"] for one in answer.get("Errors", ())] == ["AccessDenied"]


def acts_on(folder: str, actions: list[str]) -> Iterator[tuple[bool, str, dict[str, Any]]]:
    """Whether an identity with `actions` may do it to `folder`, and what it is: a client's method and its options."""
    reads, writes, lists = (f"{action}:{BUCKET}/{folder}/*" in actions for action in ("Read", "Write", "List"))
    readable = next(one for one in FOLDERS if f"Read:{BUCKET}/{one}/*" in actions)
    key, upwards = f"{folder}/7/a", f"{readable}/../{folder}/7/a"
    yield reads, "get_object", {"Key": key}
    yield writes, "put_object", {"Key": key, "Body": b"b"}
    yield lists, "list_objects_v2", {"Prefix": f"{folder}/"}
    yield writes, "copy_object", {"Key": f"{folder}/b", "CopySource": f"{BUCKET}/{readable}/7/a"}
    yield writes, "delete_objects", {"Delete": {"Objects": [{"Key": key}]}}
    yield writes, "delete_object", {"Key": key}
    yield False, "get_object", {"Key": upwards}
    yield False, "put_object", {"Key": upwards, "Body": b"b"}


def test_an_identity_of_s3_does_what_the_matrix_says_and_nothing_else(s3: S3OfTheContainers) -> None:
    wrong, tried = [], 0
    admin = client(s3.url, s3.access_key_id, s3.secret_access_key)
    for service in SERVICES:
        own = client(s3.url, f"{service}-key-id", f"{service}-{PASSWORD}")
        for folder in FOLDERS:
            for kept in FOLDERS:
                admin.put_object(Bucket=BUCKET, Key=f"{kept}/7/a", Body=b"a")
            for may, method, options in acts_on(folder, MATRIX["objects"][service]):
                tried += not may
                if is_denied(own, method, options) == may:
                    wrong.append((service, method, folder))
        for method, options in [*SETTINGS.items(), ("list_objects_v2", {})]:
            tried += 1
            if not is_denied(own, method, options):
                wrong.append((service, method, ""))
    assert wrong == []
    assert tried > 60
