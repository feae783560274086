"""The ports of the S3 server as docker-compose.yml has it: S3 alone answers beyond the container.

A loopback address stands for the container's network: what is bound to another one is out of its reach.
"""

import contextlib
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from deploy import make_secrets
from local.free_port import free_port
from local.make_bucket import Bucket
from local.s3 import _find_program
from tests.waiting import wait_until

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yml").read_text())
#: What 0.0.0.0 of the container is here.
OUTSIDE = "127.0.0.9"
PORTS = ("master", "volume", "filer", "s3")


@dataclass(frozen=True)
class Server:
    """A running SeaweedFS, its ports by name, and what listens on them."""

    process: "subprocess.Popen[bytes]"
    ports: dict[str, int]
    keys: tuple[str, str]

    def listening(self) -> set[tuple[str, int]]:
        """Address and port of each socket of the process that accepts connections."""
        folder = Path(f"/proc/{self.process.pid}")
        own = set()
        for link in (folder / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                own.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        found = set()
        for line in (folder / "net/tcp").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in own:
                address, port = words[1].split(":")
                found.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
        return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """SeaweedFS with the arguments, the environment and the secrets of the container `s3`."""
    service = COMPOSE["services"]["s3"]
    folders: dict[str, dict[str, str]] = {reader: {} for reader in make_secrets.READERS}
    make_secrets.add_s3(folders, make_secrets.Made(tmp_path / "made.json"))
    secrets = tmp_path / "s3"
    secrets.mkdir()
    for name, content in folders["s3"].items():
        (secrets / name).write_text(content)
    ports = {name: free_port() for part in PORTS for name in (part, f"{part}.grpc")}
    arguments = [one.replace("/run/secrets/s3", str(secrets)).replace("0.0.0.0", OUTSIDE) for one in service["command"]]  # noqa: S104
    replaced = {"-dir": str(tmp_path / "data"), "-s3.port": str(ports["s3"])}
    arguments = [
        f"{name}={replaced.get(name, value)}" if (value := rest) else name
        for name, _, rest in (one.partition("=") for one in arguments)
    ]
    arguments += [f"-{part}.port={ports[part]}" for part in PORTS if part != "s3"]
    arguments += [f"-{part}.port.grpc={ports[f'{part}.grpc']}" for part in PORTS]
    (tmp_path / "data").mkdir()
    environment = {
        name: value.replace("/run/secrets/s3", str(secrets)) for name, value in service.get("environment", {}).items()
    }
    process = subprocess.Popen(
        [_find_program(), "-logtostderr=true", "server", *arguments],
        env={**os.environ, "HOME": str(tmp_path), **environment},
        stdout=(log := (tmp_path / "log").open("wb")),
        stderr=log,
    )
    keys = re.findall(r"= (\S+)", folders["bucket"]["aws_credentials"])
    try:
        yield Server(process, ports, (keys[0], keys[1]))
    finally:
        process.kill()
        process.wait(10)
        log.close()
        for part in PORTS:
            Path(f"/tmp/seaweedfs-{part}-grpc-{ports[f'{part}.grpc']}.sock").unlink(missing_ok=True)  # noqa: S108


def test_nothing_but_s3_answers_beyond_the_container(server: Server) -> None:
    # Given the server of the container, which keeps objects
    url = f"http://{OUTSIDE}:{server.ports['s3']}"

    def keeps() -> bool:
        with contextlib.suppress(Exception):
            bucket = Bucket(url, "nouba", *server.keys)
            bucket.make()
            bucket.probe()
            return True
        return False

    wait_until(keeps, 30, "the server does not keep objects")

    # When another container searches for its ports
    outside = {port for address, port in server.listening() if address != "127.0.0.1"}

    # Then S3 answers, which asks for a signature, and its gRPC port, which asks for a certificate that nobody has
    assert outside == {server.ports["s3"], server.ports["s3.grpc"]}
    assert httpx.get(f"{url}/nouba").status_code == 403
    assert _spoken(server.ports["s3.grpc"], tls=True) == b""
    assert _spoken(server.ports["s3.grpc"], tls=False)[3:4] != b"\x04"


def _spoken(port: int, *, tls: bool) -> bytes:
    """The first bytes of an HTTP/2 server, which begin with its settings (kind 4); none where it refuses."""
    connection = socket.create_connection((OUTSIDE, port), timeout=10)
    with contextlib.closing(connection):
        try:
            if tls:
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                context.set_alpn_protocols(["h2"])
                connection = context.wrap_socket(connection)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            return connection.recv(4096)
        except (ssl.SSLError, ConnectionError):
            return b""
