"""A real Alertmanager with the configuration that compose makes: alerts reach people, Watchdog the heartbeat."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml

from deploy.make_secrets import alertmanager_config
from local.free_port import free_port
from local.installers.promtool_and_alertmanager import find_alertmanager
from tests.mail_server import PASSWORD, USER, MailServer
from tests.waiting import wait_until


class Receiver:
    """Keeps what is posted to it, by path."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posted.append((self.path, json.loads(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def of(self, path: str) -> list[Any]:
        return [body for posted, body in self.posted if posted == path]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


def start(folder: Path, settings: Mapping[str, str]) -> tuple["subprocess.Popen[bytes]", str]:
    """A running Alertmanager, and its address."""
    config = alertmanager_config(settings)
    # the test does not wait for half a minute
    config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
    path = folder / "alertmanager.yml"
    path.write_text(json.dumps(config))
    url = f"http://127.0.0.1:{free_port()}"
    options = (f"--config.file={path}", f"--storage.path={folder}", "--cluster.listen-address=")
    process = subprocess.Popen(
        [find_alertmanager(), *options, f"--web.listen-address={url.removeprefix('http://')}"],
        stdout=(folder / "log").open("ab"),
        stderr=subprocess.STDOUT,
        env=os.environ,
    )

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/-/ready").is_success
        except httpx.TransportError:
            return False

    wait_until(is_ready, 60)
    return process, url


def test_an_alert_is_mailed_and_posted_and_watchdog_is_the_heartbeat(
    tmp_path: Path, mail_server: MailServer, receiver: Receiver
) -> None:
    process, url = start(
        tmp_path,
        {
            "NOUBA_ALERT_MAIL_TO": "on-call@school.example, head@school.example",
            "NOUBA_MAIL_URL": f"smtp://{USER}:{quote(PASSWORD, safe='')}@localhost:{mail_server.port}",
            "NOUBA_MAIL_FROM": "Nouba <nouba@school.example>",
            "NOUBA_ALERT_SLACK_URL": f"{receiver.url}/slack",
            "NOUBA_ALERT_WEBHOOK_URL": f"{receiver.url}/alerts",
            "NOUBA_ALERT_HEARTBEAT_URL": f"{receiver.url}/heartbeat",
        },
    )
    try:
        drift = {
            "labels": {"alertname": "LedgerDrift", "severity": "page"},
            "annotations": {"summary": "Wallets and ledger differ", "runbook_url": "https://docs.example/LedgerDrift"},
        }
        watchdog = {"labels": {"alertname": "Watchdog", "severity": "none"}}
        httpx.post(f"{url}/api/v2/alerts", json=[drift, watchdog]).raise_for_status()
        wait_until(lambda: mail_server.mails and all(map(receiver.of, ("/slack", "/alerts", "/heartbeat"))), 60)

        (mail,) = mail_server.mails
        assert {name.strip() for name in mail["To"].split(",")} == {"on-call@school.example", "head@school.example"}
        assert "LedgerDrift" in mail["Subject"]
        assert "Wallets and ledger differ" in receiver.of("/slack")[0]["attachments"][0]["text"]
        names = [alert["labels"]["alertname"] for posted in receiver.of("/alerts") for alert in posted["alerts"]]
        assert names == ["LedgerDrift"]
        heartbeats = {alert["labels"]["alertname"] for body in receiver.of("/heartbeat") for alert in body["alerts"]}
        assert heartbeats == {"Watchdog"}
    finally:
        process.kill()
        process.wait()
        print((tmp_path / "log").read_text())


def test_without_settings_it_runs_and_sends_nothing(tmp_path: Path) -> None:
    process, url = start(tmp_path, {})
    try:
        assert httpx.get(f"{url}/api/v2/receivers").json() == [{"name": "school"}, {"name": "watchdog"}]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"NOUBA_MAIL_URL": "smtp://mail.school.example"},
        {"NOUBA_MAIL_URL": "mail", "NOUBA_MAIL_FROM": "a@b.example"},
    ],
)
def test_mail_without_a_mail_server_is_refused_with_the_fix(settings: dict[str, str]) -> None:
    with pytest.raises(SystemExit, match="set NOUBA_MAIL_URL and NOUBA_MAIL_FROM"):
        alertmanager_config({"NOUBA_ALERT_MAIL_TO": "head@school.example", **settings})


def test_no_service_of_ours_reaches_it() -> None:
    # it asks nobody for a password: each process that reaches it can silence every alert
    services = yaml.safe_load(Path("docker-compose.yml").read_text())["services"]
    own = set(services["alertmanager"]["networks"])
    beside = {name for name, service in services.items() if own & set(service.get("networks", ()))}
    assert beside == {"alertmanager", "prometheus", "grafana"}
    assert "ports" not in services["alertmanager"]
