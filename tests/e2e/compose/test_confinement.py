"""What each container may not do: to the machine, to the database, to the queues, to the objects."""

import json
import re

import pytest

from deploy import role_matrix
from tests.e2e.compose.containers import PSQL, Containers
from tests.e2e.compose.test_containers import ONE_SHOTS


def test_no_container_has_more_rights_than_an_ordinary_user(containers: Containers) -> None:
    for service in containers.services:
        for container in containers.inspect(service):
            host, config = container["HostConfig"], container["Config"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"], service
            assert host["SecurityOpt"] == ["no-new-privileges:true"], service
            assert host["Memory"] > 0, service
            assert host["PidsLimit"] > 0, service
            assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}, service
            assert not any(word in variable for variable in config["Env"] for word in ("PASSWORD=", "amqp:", "whsec"))
            for bindings in (host["PortBindings"] or {}).values():
                assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"], service
            if service == "secrets-maker":
                assert (host["CapAdd"], host["NetworkMode"]) == (["CHOWN"], "none")
                continue
            assert not host["CapAdd"], service
            assert config["User"].split(":")[0] not in ("", "0", "root"), service
            assert host["RestartPolicy"]["Name"] == ("no" if service in ONE_SHOTS else "unless-stopped"), service


def test_nothing_but_its_own_folder_of_secrets_can_be_read(containers: Containers) -> None:
    readable = containers.read(
        "stats-worker",
        "sh",
        "-c",
        "cat /run/secrets/*/* 2>/dev/null | wc -c; ls /run/secrets/stats",
    )
    denied = containers.execute("stats-worker", "cat", "/run/secrets/gateway/NOUBA_DATABASE_URL")
    kept = containers.execute("stats-worker", "sh", "-c", "echo x > /run/secrets/stats/x")

    assert "NOUBA_DATABASE_URL" in readable
    assert "Permission denied" in denied.stderr
    assert kept.returncode != 0


def test_the_database_is_reached_from_inside_alone(containers: Containers) -> None:
    # RabbitMQ is scraped, too; neither network leads outside
    for service, networks in {"postgres": {"inside"}, "rabbitmq": {"inside", "scraped"}}.items():
        for container in containers.inspect(service):
            names = {f"{containers.name}_{network}" for network in networks}
            assert set(container["NetworkSettings"]["Networks"]) == names
            assert not any(container["NetworkSettings"]["Ports"].values())


#: By role, what it may not do.
FORBIDDEN = {
    "nouba_gateway": [
        "UPDATE users SET name = 'x'",
        "UPDATE subscriptions SET amount_minor = 0",
        "INSERT INTO users (name) VALUES ('x')",
        "DELETE FROM webhook_events",
        "DELETE FROM payments",
        "UPDATE ledger_entries SET amount_minor = 1",
        "DELETE FROM ledger_entries",
        "SELECT FROM daily_stats",
        "INSERT INTO changed_days (day) VALUES (now())",
        "UPDATE courses SET title = 'x'",
        "INSERT INTO outbox (service, message) VALUES ('stats', '{}')",
        "CREATE TABLE mine (x int)",
    ],
    "nouba_transcoder": [
        "SELECT FROM users",
        "SELECT FROM payments",
        "SELECT FROM webhook_events",
        "UPDATE courses SET title = 'x'",
        "DELETE FROM courses",
        "INSERT INTO outbox (service, message) VALUES ('gateway', '{}')",
    ],
    "nouba_stats": [
        "SELECT email FROM users",
        "SELECT body FROM webhook_events",
        "UPDATE users SET balance_minor = 1",
        "UPDATE payments SET status = 'completed'",
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) VALUES (1,1,1,'X')",
        "UPDATE daily_stats SET etag = ''",
        "DELETE FROM daily_stats",
        "INSERT INTO outbox (service, message) VALUES ('gateway', '{}')",
        "CREATE TABLE mine (x int)",
    ],
    "nouba_console": [
        "SELECT name FROM users",
        "SELECT phone FROM users",
        "SELECT body FROM webhook_events",
        "SELECT headers FROM webhook_events",
        "SELECT FROM course_keys",
        "UPDATE payments SET status = 'completed'",
        "UPDATE refund_requests SET state = 'accepted'",
        "UPDATE webhook_events SET body = ''",
        "UPDATE ledger_entries SET amount_minor = 1",
        "UPDATE dead_letters SET message = '{}'",
        "DELETE FROM dead_letters",
        "UPDATE operator_acts SET what = ''",
        "DELETE FROM operator_acts",
        "INSERT INTO outbox (service, message) VALUES ('stats', '{}')",
        "DELETE FROM outbox",
        "CREATE TABLE mine (x int)",
    ],
    "nouba_playback": [
        "SELECT FROM courses",
        "SELECT content_key FROM course_keys",
        "UPDATE course_keys SET secret = ''",
        "SELECT FROM transcode_jobs",
        "SELECT FROM outbox",
    ],
    "nouba_school": [
        "UPDATE users SET balance_minor = 1",
        "INSERT INTO users (name, balance_minor) VALUES ('x', 1)",
        "UPDATE payments SET status = 'completed'",
        "INSERT INTO payments (provider, user_id, amount_minor, status) VALUES ('x', 1, 1, 'completed')",
        "SELECT body FROM webhook_events",
        "SELECT FROM outbox",
        "DELETE FROM ledger_entries",
    ],
}


@pytest.mark.parametrize("role", FORBIDDEN)
def test_a_role_may_do_nothing_but_its_work(containers: Containers, role: str) -> None:
    # When one psql tries all of it, each in a transaction of its own
    tried = [word for one in FORBIDDEN[role] for step in ("BEGIN", one, "ROLLBACK") for word in ("--command", step)]
    result = containers.execute("postgres", *PSQL, "--username", role, "--echo-errors", *tried)

    # Then each is refused
    reported = re.findall(r"ERROR:  (.*)(?:\n.*)*?\nSTATEMENT:  (.*)", result.stderr)
    denied = [one for error, one in reported if "permission denied" in error or "row-level security" in error]
    assert denied == FORBIDDEN[role], result.stderr


def test_a_service_sees_its_own_enqueues_alone(containers: Containers) -> None:
    check = (
        "BEGIN; INSERT INTO outbox (service, message) VALUES ('stats', '{}'); SET LOCAL ROLE %s; "
        "SELECT count(*) FROM outbox"
    )

    seen = {role: containers.sql("nouba", check % f"nouba_{role}") for role in ("gateway", "stats")}

    assert int(seen["gateway"].stdout) == 0
    assert int(seen["stats"].stdout) >= 1


_TRY = """
import json, pika, sys
from pathlib import Path
url = Path(sys.argv[1]).read_text()
with pika.BlockingConnection(pika.URLParameters(url)) as connection:
    for attempt in sys.argv[2:]:
        channel, answer = connection.channel(), None
        channel.confirm_delivery()
        try:
            eval(attempt)
        except pika.exceptions.ChannelClosedByBroker as error:
            answer = [error.reply_code, error.reply_text]
        print(json.dumps([attempt, answer]))
"""


@pytest.mark.parametrize(
    ("service", "attempts"),
    [
        (
            "stats-worker",
            [
                "channel.basic_get('webhooks')",
                "channel.basic_get('videos')",
                "channel.queue_declare('webhooks', durable=True)",
                "channel.queue_delete('webhooks')",
                "channel.queue_declare('mine')",
                "channel.basic_publish('amq.topic', 'x', b'')",
                "channel.exchange_declare('mine')",
            ],
        ),
        (
            "gateway",
            ["channel.basic_get('default')", "channel.basic_get('videos')", "channel.queue_purge('videos')"],
        ),
        (
            "console",
            [
                "channel.basic_get('webhooks')",
                "channel.queue_declare('webhooks', durable=True)",
                "channel.basic_publish('', 'webhooks', b'')",
            ],
        ),
    ],
)
def test_a_user_of_rabbitmq_may_do_nothing_but_its_work(
    containers: Containers, service: str, attempts: list[str]
) -> None:
    url = f"/run/secrets/{service.removesuffix('-worker')}/NOUBA_RABBITMQ_URL"
    printed = containers.read(service, "/opt/nouba/bin/python", "-c", _TRY, url, *attempts)

    answers = dict(json.loads(line) for line in printed.splitlines())
    refused = [one for one, answer in answers.items() if answer and answer[1].startswith("ACCESS_REFUSED")]
    assert refused == attempts, answers


def test_rabbitmq_has_no_guest(containers: Containers) -> None:
    users = containers.read("rabbitmq", "rabbitmqctl", "--quiet", "list_users")

    assert sorted(line.split()[0] for line in users.splitlines()[1:]) == ["console", "gateway", "stats", "transcoder"]


_TRY_S3 = """
import boto3, json, sys
from botocore.exceptions import ClientError
stranger = dict(aws_access_key_id="A" * 20, aws_secret_access_key="x")
for attempt in sys.argv[2:]:
    known = {} if sys.argv[1] == "gateway" else stranger
    client = boto3.client("s3", endpoint_url="http://s3:8333", region_name="us-east-1", **known)
    try:
        eval(attempt)
        print(json.dumps([attempt, None]))
    except ClientError as error:
        print(json.dumps([attempt, error.response["Error"]["Code"]]))
"""


@pytest.mark.parametrize(
    ("caller", "attempts", "answer"),
    [
        (
            "gateway",
            [
                "client.create_bucket(Bucket='mine')",
                "client.delete_bucket(Bucket='nouba')",
                "client.put_object(Bucket='other', Key='x', Body=b'')",
                "client.delete_bucket_cors(Bucket='nouba')",
            ],
            "AccessDenied",
        ),
        ("a stranger", ["client.list_buckets()"], "InvalidAccessKeyId"),
    ],
)
def test_the_gateway_may_do_nothing_to_s3_but_keep_uploads_and_a_stranger_nothing(
    containers: Containers, caller: str, attempts: list[str], answer: str
) -> None:
    printed = containers.read("gateway", "/opt/nouba/bin/python", "-c", _TRY_S3, caller, *attempts)

    assert [json.loads(line) for line in printed.splitlines()] == [[attempt, answer] for attempt in attempts]


_TRY_PORTS = """
import socket
for port in (9333, 19333, 8080, 18080, 8888, 18888, 18333, 8333):
    try:
        with socket.create_connection(("s3", port), timeout=5) as connection:
            connection.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n\\0\\0\\0\\4\\0\\0\\0\\0\\0")
            # an HTTP/2 server answers with its settings, which are of kind 4
            print(port, "speaks" if connection.recv(4096)[3:4] == b"\\4" else "listens")
    except OSError:
        print(port, "refused")
"""


def test_the_inner_servers_of_s3_are_reached_by_no_other_container(containers: Containers) -> None:
    for service in ("gateway", "transcoder", "stats-worker", "console"):
        found = dict(line.split() for line in containers.python(service, _TRY_PORTS).stdout.splitlines())

        # master, volume and filer, each with its gRPC port
        assert {port for port, state in found.items() if state == "refused"} == {
            "9333",
            "19333",
            "8080",
            "18080",
            "8888",
            "18888",
        }, service
        # S3 asks for a signature, and its gRPC port for a certificate that nobody has
        assert (found["8333"], found["18333"]) == ("listens", "listens"), service


MATRIX = role_matrix.read()
#: By container, a program that tries each `address:port` of its arguments and prints those that answer.
_PYTHON = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(target):
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    except OSError:
        return False
# most of them answer nothing until the time is over
with ThreadPoolExecutor(20) as threads:
    print(*(target for target, found in zip(sys.argv[1:], threads.map(answers, sys.argv[1:])) if found))
"""
# images without bash have the nc of busybox
_SHELL = """
answers() {
  host=${1%:*} port=${1##*:}
  if command -v bash; then timeout 1 bash -c "exec 3<>/dev/tcp/$host/$port"; else nc -z -w 1 "$host" "$port"; fi
}
begun=0
for target in "$@"; do
  { answers "$target" >/dev/null 2>&1 && echo "$target"; } &
  begun=$((begun + 1))
  if [ $((begun % 20)) = 0 ]; then wait; fi
done
wait
"""
CALLERS = {
    **dict.fromkeys(
        (
            "console",
            "events-worker",
            "gateway",
            "payments-worker",
            "playback",
            "stats-api",
            "stats-scheduler",
            "stats-worker",
            "transcoder",
        ),
        ("/opt/nouba/bin/python", "-c", _PYTHON),
    ),
    **dict.fromkeys(
        ("alertmanager", "grafana", "postgres", "prometheus", "rabbitmq", "s3"), ("sh", "-c", _SHELL, "sh")
    ),
}
#: What the matrix lets each of them reach: the test must be able to see an open port.
OPEN = {"alertmanager": "prometheus:9090", "grafana": "prometheus:9090", "prometheus": "gateway:9100"}


@pytest.fixture(scope="module")
def addresses(containers: Containers) -> dict[str, list[str]]:
    """The address of each running server in each of its networks."""
    return {
        name: [
            network["IPAddress"]
            for container in containers.inspect(name)
            for network in container["NetworkSettings"]["Networks"].values()
            if network["IPAddress"]
        ]
        for name in MATRIX["inner_ports"]
        if name in containers.services
    }


@pytest.mark.parametrize("caller", CALLERS)
def test_a_container_reaches_no_port_that_the_matrix_refuses(
    containers: Containers, addresses: dict[str, list[str]], caller: str
) -> None:
    # Given every port of every container that shares no network with this one, by name and by each address
    refused = set(MATRIX["inner_ports"]) - role_matrix.peers_of(MATRIX["networks"], caller) - {caller}
    targets = [
        f"{host}:{port}"
        for name, hosts in addresses.items()
        if name in refused
        for host in [name, *hosts]
        for port in MATRIX["inner_ports"][name]
    ]

    # When it tries each, and one that it may reach
    control = OPEN.get(caller, "rabbitmq:5672")
    if caller == "rabbitmq":
        control = "gateway:9100"
    elif caller == "playback":
        control = "postgres:5432"
    answered = containers.read(caller, *CALLERS[caller], *targets, control)

    # Then that one alone answers
    assert answered.split() == [control]
