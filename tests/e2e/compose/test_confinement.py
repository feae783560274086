"""What each container may not do: to the machine, to the database, to the queues, to the objects."""

import pytest

from deploy import role_matrix
from tests.e2e.compose.containers import Containers
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
    readable = containers.run(
        "exec",
        "--no-TTY",
        "stats-worker",
        "sh",
        "-c",
        "cat /run/secrets/*/* 2>/dev/null | wc -c; ls /run/secrets/stats",
    )
    denied = containers.ask("exec", "--no-TTY", "stats-worker", "cat", "/run/secrets/gateway/NOUBA_DATABASE_URL")
    kept = containers.ask("exec", "--no-TTY", "stats-worker", "sh", "-c", "echo x > /run/secrets/stats/x")

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


FORBIDDEN = [
    ("nouba_gateway", "UPDATE users SET name = 'x'"),
    ("nouba_gateway", "UPDATE subscriptions SET amount_minor = 0"),
    ("nouba_gateway", "INSERT INTO users (name) VALUES ('x')"),
    ("nouba_gateway", "DELETE FROM webhook_events"),
    ("nouba_gateway", "DELETE FROM payments"),
    ("nouba_gateway", "UPDATE ledger_entries SET amount_minor = 1"),
    ("nouba_gateway", "DELETE FROM ledger_entries"),
    ("nouba_gateway", "SELECT FROM daily_stats"),
    ("nouba_gateway", "INSERT INTO changed_days (day) VALUES (now())"),
    ("nouba_gateway", "UPDATE courses SET title = 'x'"),
    ("nouba_gateway", "INSERT INTO outbox (service, message) VALUES ('stats', '{}')"),
    ("nouba_gateway", "CREATE TABLE mine (x int)"),
    ("nouba_transcoder", "SELECT FROM users"),
    ("nouba_transcoder", "SELECT FROM payments"),
    ("nouba_transcoder", "SELECT FROM webhook_events"),
    ("nouba_transcoder", "UPDATE courses SET title = 'x'"),
    ("nouba_transcoder", "DELETE FROM courses"),
    ("nouba_transcoder", "INSERT INTO outbox (service, message) VALUES ('gateway', '{}')"),
    ("nouba_stats", "SELECT email FROM users"),
    ("nouba_stats", "SELECT body FROM webhook_events"),
    ("nouba_stats", "UPDATE users SET balance_minor = 1"),
    ("nouba_stats", "UPDATE payments SET status = 'completed'"),
    (
        "nouba_stats",
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) VALUES (1,1,1,'X')",
    ),
    ("nouba_stats", "UPDATE daily_stats SET etag = ''"),
    ("nouba_stats", "DELETE FROM daily_stats"),
    ("nouba_stats", "INSERT INTO outbox (service, message) VALUES ('gateway', '{}')"),
    ("nouba_stats", "CREATE TABLE mine (x int)"),
    ("nouba_console", "SELECT name FROM users"),
    ("nouba_console", "SELECT phone FROM users"),
    ("nouba_console", "SELECT body FROM webhook_events"),
    ("nouba_console", "SELECT headers FROM webhook_events"),
    ("nouba_console", "SELECT FROM course_keys"),
    ("nouba_console", "UPDATE payments SET status = 'completed'"),
    ("nouba_console", "UPDATE refund_requests SET state = 'accepted'"),
    ("nouba_console", "UPDATE webhook_events SET body = ''"),
    ("nouba_console", "UPDATE ledger_entries SET amount_minor = 1"),
    ("nouba_console", "UPDATE dead_letters SET message = '{}'"),
    ("nouba_console", "DELETE FROM dead_letters"),
    ("nouba_console", "UPDATE operator_acts SET what = ''"),
    ("nouba_console", "DELETE FROM operator_acts"),
    ("nouba_console", "INSERT INTO outbox (service, message) VALUES ('stats', '{}')"),
    ("nouba_console", "DELETE FROM outbox"),
    ("nouba_console", "CREATE TABLE mine (x int)"),
    ("nouba_playback", "SELECT FROM courses"),
    ("nouba_playback", "SELECT content_key FROM course_keys"),
    ("nouba_playback", "UPDATE course_keys SET secret = ''"),
    ("nouba_playback", "SELECT FROM transcode_jobs"),
    ("nouba_playback", "SELECT FROM outbox"),
    ("nouba_school", "UPDATE users SET balance_minor = 1"),
    ("nouba_school", "INSERT INTO users (name, balance_minor) VALUES ('x', 1)"),
    ("nouba_school", "UPDATE payments SET status = 'completed'"),
    ("nouba_school", "INSERT INTO payments (provider, user_id, amount_minor, status) VALUES ('x', 1, 1, 'completed')"),
    ("nouba_school", "SELECT body FROM webhook_events"),
    ("nouba_school", "SELECT FROM outbox"),
    ("nouba_school", "DELETE FROM ledger_entries"),
]


@pytest.mark.parametrize(("role", "statement"), FORBIDDEN)
def test_a_role_may_do_nothing_but_its_work(containers: Containers, role: str, statement: str) -> None:
    result = containers.sql(role, f"BEGIN; {statement}; ROLLBACK")

    assert result.returncode != 0
    assert "permission denied" in result.stderr or "row-level security policy" in result.stderr


def test_a_service_sees_its_own_enqueues_alone(containers: Containers) -> None:
    check = (
        "BEGIN; INSERT INTO outbox (service, message) VALUES ('stats', '{}'); SET LOCAL ROLE %s; "
        "SELECT count(*) FROM outbox"
    )

    seen = {role: containers.sql("nouba", check % f"nouba_{role}") for role in ("gateway", "stats")}

    assert int(seen["gateway"].stdout) == 0
    assert int(seen["stats"].stdout) >= 1


_TRY = """
import pika, sys
from pathlib import Path
url = Path("/run/secrets/{service}/NOUBA_RABBITMQ_URL").read_text()
channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
channel.confirm_delivery()
try:
    {attempt}
except pika.exceptions.ChannelClosedByBroker as error:
    sys.exit(error.reply_code == 403 and "refused: " + error.reply_text)
"""


@pytest.mark.parametrize(
    ("service", "attempt"),
    [
        ("stats", "channel.basic_get('webhooks')"),
        ("stats", "channel.basic_get('videos')"),
        ("stats", "channel.queue_declare('webhooks', durable=True)"),
        ("stats", "channel.queue_delete('webhooks')"),
        ("stats", "channel.queue_declare('mine')"),
        ("stats", "channel.basic_publish('amq.topic', 'x', b'')"),
        ("stats", "channel.exchange_declare('mine')"),
        ("gateway", "channel.basic_get('default')"),
        ("gateway", "channel.basic_get('videos')"),
        ("gateway", "channel.queue_purge('videos')"),
        ("console", "channel.basic_get('webhooks')"),
        ("console", "channel.queue_declare('webhooks', durable=True)"),
        ("console", "channel.basic_publish('', 'webhooks', b'')"),
    ],
)
def test_a_user_of_rabbitmq_may_do_nothing_but_its_work(containers: Containers, service: str, attempt: str) -> None:
    runs_in = {"stats": "stats-worker", "gateway": "gateway", "console": "console"}[service]

    result = containers.python(runs_in, _TRY.format(service=service, attempt=attempt))

    assert "refused: ACCESS_REFUSED" in result.stderr, result.stderr


def test_rabbitmq_has_no_guest(containers: Containers) -> None:
    users = containers.run("exec", "--no-TTY", "rabbitmq", "rabbitmqctl", "--quiet", "list_users")

    assert sorted(line.split()[0] for line in users.splitlines()[1:]) == ["console", "gateway", "stats", "transcoder"]


_TRY_S3 = """
import boto3, sys
from botocore.exceptions import ClientError
client = boto3.client("s3", endpoint_url="http://s3:8333", region_name="us-east-1")
try:
    {attempt}
except ClientError as error:
    sys.exit("refused: " + error.response["Error"]["Code"])
"""


@pytest.mark.parametrize(
    "attempt",
    [
        "client.create_bucket(Bucket='mine')",
        "client.delete_bucket(Bucket='nouba')",
        "client.put_object(Bucket='other', Key='x', Body=b'')",
        "client.delete_bucket_cors(Bucket='nouba')",
    ],
)
def test_the_gateway_may_do_nothing_to_s3_but_keep_uploads(containers: Containers, attempt: str) -> None:
    result = containers.python("gateway", _TRY_S3.format(attempt=attempt))

    assert "refused: AccessDenied" in result.stderr, result.stderr


def test_a_stranger_may_do_nothing_to_s3(containers: Containers) -> None:
    stranger = "client = boto3.client('s3', endpoint_url='http://s3:8333', region_name='us-east-1', "
    stranger += "aws_access_key_id='A' * 20, aws_secret_access_key='x'); client.list_buckets()"

    result = containers.python("gateway", _TRY_S3.format(attempt=stranger))

    assert "refused: InvalidAccessKeyId" in result.stderr, result.stderr


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
for target in sys.argv[1:]:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        print(target)
    except OSError:
        pass
"""
# images without bash have the nc of busybox
_SHELL = """
for target in "$@"; do
  host=${target%:*} port=${target##*:}
  if command -v bash >/dev/null; then timeout 1 bash -c "exec 3<>/dev/tcp/$host/$port"
  else nc -z -w 1 "$host" "$port"
  fi >/dev/null 2>&1 && echo "$target"
done
true
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
def test_a_container_reaches_no_port_that_the_matrix_refuses(containers: Containers, caller: str) -> None:
    # Given every port of every container that shares no network with this one, by name and by each address
    refused = set(MATRIX["inner_ports"]) - role_matrix.peers_of(MATRIX["networks"], caller) - {caller}
    targets = [
        f"{host}:{port}"
        for name, hosts in addresses(containers).items()
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
    answered = containers.run("exec", "--no-TTY", caller, *CALLERS[caller], *targets, control, timeout_seconds=300)

    # Then that one alone answers
    assert answered.split() == [control]
