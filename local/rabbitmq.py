"""A private RabbitMQ node in a folder: on 127.0.0.1 alone, with a name, a user and an epmd of its own."""

import hashlib
import os
import secrets
import shutil
import subprocess
from pathlib import Path

import httpx
import pika
import pika.exceptions

from local.daemon import MARK, DaemonProcess
from local.errors import CannotStartError
from local.free_port import HOST
from local.installers.rabbitmq import find_program
from local.saved_settings import SavedSettings

_READY_SECONDS = 90
_STOP_SECONDS = 30
_PORTS = ("amqp", "management", "prometheus", "distribution", "epmd")
_PLUGINS = "[rabbitmq_management,rabbitmq_prometheus].\n"
#: As deploy/rabbitmq/definitions.json has it: RabbitMQ 4 would drop a dead message that came back twenty times.
DEAD_LETTERS_STAY = {
    "pattern": r"\.XQ$",
    "apply-to": "queues",
    "priority": 0,
    "definition": {"delivery-limit": 1_000_000_000},
}


class RabbitMq:
    """RabbitMQ with all it keeps in `folder`. The same folder gives the same node again, from any command."""

    name = "RabbitMQ"

    def __init__(self, folder: Path) -> None:
        #: Where all of it is.
        self.folder = folder.absolute()
        self._remembered = SavedSettings(self.folder / "server.json")
        self._process = DaemonProcess(self.folder)

    @property
    def url(self) -> str:
        """The AMQP address of the default virtual host, with the password in it."""
        return self.url_of("%2F")

    def url_of(self, virtual_host: str) -> str:
        """The AMQP address of one virtual host, given as a URL has it."""
        return f"amqp://nouba:{self._remembered['password']}@{HOST}:{self._remembered['amqp']}/{virtual_host}"

    @property
    def management_url(self) -> str:
        """The address of the management pages and their API (below `/api`), with the password in it."""
        return f"http://nouba:{self._remembered['password']}@{HOST}:{self._remembered['management']}"

    @property
    def management_address(self) -> str:
        """The same without user and password."""
        return f"http://{HOST}:{self._remembered['management']}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reads the broker's own metrics."""
        return f"http://{HOST}:{self._remembered['prometheus']}/metrics"

    @property
    def running(self) -> bool:
        """Whether the node is there."""
        return self._process.running

    @property
    def pid(self) -> int | None:
        """The id of the node's first process while it runs."""
        return self._process.pid

    def start(self) -> None:
        """Start the node. Returns when it takes connections and its management API answers."""
        if self.running:
            return
        self._process.kill()
        program = find_program()
        password = self._remembered.text("password", lambda: secrets.token_hex(16))
        ports = {name: self._remembered.port(name) for name in _PORTS}
        self._write_files(ports, password)
        self._process.start([program], self._environment(ports))
        self._process.wait_until(self._answers, _READY_SECONDS)
        policy = f"{self.management_url}/api/policies/%2F/dead-letters-stay"
        httpx.put(policy, json=DEAD_LETTERS_STAY, timeout=10).raise_for_status()

    def stop(self) -> None:
        """Stop the node in good order; nothing of it remains."""
        self._process.stop(grace_seconds=_STOP_SECONDS)

    def kill(self) -> None:
        """End the node as a crash would; durable queues and their messages are there again after `start`."""
        self._process.kill()

    def destroy(self) -> None:
        """End the node and remove all it keeps."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def control(self, *arguments: str) -> str:
        """What `rabbitmqctl` answers to `arguments` while the node runs."""
        ports = {name: int(self._remembered[name]) for name in _PORTS}
        program = find_program().with_name("rabbitmqctl")
        # the mark: whatever this leaves running ends with the node
        environment = {**self._environment(ports), MARK: str(self.folder)}
        result = subprocess.run(
            [program, "--quiet", *arguments], env=environment, cwd="/", capture_output=True, text=True, check=True
        )
        return result.stdout

    def _write_files(self, ports: dict[str, int], password: str) -> None:
        cookie = self._remembered.text("cookie", lambda: secrets.token_hex(16))
        files = {
            "rabbitmq.conf": _configuration(ports, password),
            "enabled_plugins": _PLUGINS,
            # the machine's own /etc/rabbitmq is not for this node
            "rabbitmq-env.conf": "",
            # in a file rather than an argument, since everybody can read the arguments
            ".erlang.cookie": cookie,
        }
        for name, content in files.items():
            path = self.folder / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(content)

    def _environment(self, ports: dict[str, int]) -> dict[str, str]:
        key = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        return {
            "PATH": f"/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/usr/local/bin:{os.environ.get('PATH', '')}",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            # two clones of the project are two nodes
            "RABBITMQ_NODENAME": f"nouba_{key}@localhost",
            "RABBITMQ_NODE_PORT": str(ports["amqp"]),
            "RABBITMQ_DIST_PORT": str(ports["distribution"]),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_LOGS": "-",
            # without its suffix, which the server appends
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
            # few cores, shared with the processes that do the work: idle schedulers must not spin
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
            # an epmd of its own, since a shared one would outlive the node or hold other people's nodes
            "ERL_EPMD_PORT": str(ports["epmd"]),
            "ERL_EPMD_ADDRESS": HOST,
        }

    def _answers(self) -> bool:
        try:
            overview = httpx.get(f"{self.management_url}/api/overview", timeout=5)
            if overview.status_code == httpx.codes.UNAUTHORIZED:
                raise CannotStartError(f"RabbitMQ refuses its own user; remove {self.folder} to begin anew.")
            if overview.status_code != httpx.codes.OK:
                return False
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (httpx.TransportError, pika.exceptions.AMQPError):
            return False
        return True


def _configuration(ports: dict[str, int], password: str) -> str:
    lines = {
        "listeners.tcp.1": f"{HOST}:{ports['amqp']}",
        "management.tcp.ip": HOST,
        "management.tcp.port": ports["management"],
        "prometheus.tcp.ip": HOST,
        "prometheus.tcp.port": ports["prometheus"],
        "default_user": "nouba",
        "default_pass": password,
        # half an hour is the default, and a consumer that is slower loses its channel and works twice
        "consumer_timeout": 10_800_000,
        "vm_memory_high_watermark.absolute": "2GB",
        "disk_free_limit.absolute": "50MB",
    }
    return "".join(f"{name} = {value}\n" for name, value in lines.items())
