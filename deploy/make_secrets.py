"""Makes the secrets of `docker compose up` on its first start: a folder for each reader, in a volume of Docker.

Runs before everything else, as root with the one right to give files away, and again at every start, when it finds
what it made and writes the same. Standard library and openssl alone: it runs in the plain Python image.
"""

import base64
import hashlib
import json
import os
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

VOLUME = Path("/run/secrets")
#: Volumes that are made empty, and whose they are.
OWNERS = {"/data": "s3", "/scratch": "transcoder", "/spool": "gateway"}
#: Who may read which folder, by the group that docker-compose.yml gives to its container.
READERS = {
    "gateway": 10001,
    "transcoder": 10002,
    "stats": 10003,
    "postgres": 10004,
    "rabbitmq": 10005,
    "s3": 10006,
    "migrate": 10007,
    "bucket": 10008,
    "demo": 10009,
    "grafana": 10010,
    "console": 10011,
    "playback": 10012,
    "alertmanager": 10013,
}
#: Each has a role in PostgreSQL and a user of RabbitMQ with its own few rights.
SERVICES = ("gateway", "transcoder", "stats", "console")
#: Those that have a role in PostgreSQL alone.
ROLES = ("intake", *SERVICES, "playback", "school")
BUCKET = "nouba"
S3_ACTIONS = {
    "bucket": ["Admin", "Read", "Write", "List", "Tagging"],
    # a right to the whole bucket would be one to its settings too
    "gateway": [f"{action}:{BUCKET}/uploads/*" for action in ("Read", "Write")],
    "playback": [f"Read:{BUCKET}/hls/*"],
    "transcoder": [
        f"{action}:{BUCKET}/{folder}/*" for folder in ("hls", "uploads") for action in ("Read", "Write", "List")
    ],
}


def main() -> None:
    """Bring the volume to what it has to be."""
    os.umask(0o077)
    made = Made(VOLUME / "made.json")
    folders: dict[str, dict[str, str]] = {reader: {} for reader in READERS}
    add_postgres(folders, made)
    add_rabbitmq(folders, made)
    add_s3(folders, made)
    add_providers(folders, made)
    if server := os.environ.get("NOUBA_MAIL_URL"):
        folders["stats"]["NOUBA_MAIL_URL"] = server
    folders["grafana"]["admin_password"] = made["grafana"]
    for role in ("VIEWER", "OPERATOR"):
        setting = f"NOUBA_CONSOLE_{role}_TOKENS"
        folders["console"][setting] = os.environ.get(setting) or made[f"console {role.lower()}"]
    if secret := os.environ.get("NOUBA_CONSOLE_OIDC_CLIENT_SECRET"):
        folders["console"]["NOUBA_CONSOLE_OIDC_CLIENT_SECRET"] = secret
    signing = os.environ.get("NOUBA_PLAYBACK_SECRETS") or made["playback"]
    for reader in ("gateway", "playback", "console"):
        folders[reader]["NOUBA_PLAYBACK_SECRETS"] = signing
    # JSON is YAML, too
    folders["alertmanager"]["alertmanager.yml"] = json.dumps(alertmanager_config(os.environ), indent=1)
    made.keep()
    for reader, files in folders.items():
        write(VOLUME / reader, files, READERS[reader])
    for path, owner in OWNERS.items():
        os.chown(path, READERS[owner], READERS[owner])
    print("The secrets are there.")


def alertmanager_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """Alertmanager's configuration: alerts go wherever a setting says, pages again every hour and tickets every day.

    Watchdog fires always, and says to NOUBA_ALERT_HEARTBEAT_URL that the path to it works. Raises SystemExit.
    """
    school: dict[str, Any] = {"name": "school"}
    if recipients := environment.get("NOUBA_ALERT_MAIL_TO"):
        server, sender = urlsplit(environment.get("NOUBA_MAIL_URL", "")), environment.get("NOUBA_MAIL_FROM")
        if server.scheme not in ("smtp", "smtps") or not server.hostname or not sender:
            raise SystemExit("NOUBA_ALERT_MAIL_TO is set: set NOUBA_MAIL_URL and NOUBA_MAIL_FROM as well, or unset it.")
        mail = {
            "to": recipients,
            "from": sender,
            "smarthost": f"{server.hostname}:{server.port or (465 if server.scheme == 'smtps' else 587)}",
            "require_tls": server.scheme == "smtp",
            "send_resolved": True,
        }
        if server.username:
            mail |= {"auth_username": unquote(server.username), "auth_password": unquote(server.password or "")}
        school["email_configs"] = [mail]
    if url := environment.get("NOUBA_ALERT_SLACK_URL"):
        text = "{{ range .Alerts }}{{ .Annotations.summary }}\n{{ .Annotations.runbook_url }}\n{{ end }}"
        school["slack_configs"] = [{"api_url": url, "send_resolved": True, "text": text}]
    if url := environment.get("NOUBA_ALERT_WEBHOOK_URL"):
        school["webhook_configs"] = [{"url": url, "send_resolved": True}]
    watchdog: dict[str, Any] = {"name": "watchdog"}
    if url := environment.get("NOUBA_ALERT_HEARTBEAT_URL"):
        watchdog["webhook_configs"] = [{"url": url, "send_resolved": False}]
    return {
        "route": {
            "receiver": "school",
            "group_by": ["alertname"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "1d",
            "routes": [
                {
                    "matchers": ['alertname="Watchdog"'],
                    "receiver": "watchdog",
                    "group_wait": "0s",
                    "repeat_interval": "1m",
                },
                {"matchers": ['severity="page"'], "receiver": "school", "repeat_interval": "1h"},
            ],
        },
        "receivers": [school, watchdog],
    }


class Made:
    """What was made up once stays for ever."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def __getitem__(self, name: str) -> str:
        return self._values.setdefault(name, secrets.token_hex(24))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __setitem__(self, name: str, value: str) -> None:
        self._values[name] = value

    def keep(self) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(self._values))
        new.replace(self._path)


def add_postgres(folders: dict[str, dict[str, str]], made: Made) -> None:
    """The superuser, who migrates, and a role for each service and for the school's own application."""
    address = "postgresql://{}:{}@postgres:5432/nouba"
    folders["postgres"]["password"] = made["postgres"]
    # of the cluster of deploy/ha alone, as the cookie below
    folders["postgres"]["replication_password"] = made["postgres replication"]
    folders["migrate"]["NOUBA_DATABASE_URL"] = address.format("nouba", made["postgres"])
    for role in ROLES:
        folders["migrate"][f"{role}_password"] = made[f"postgres {role}"]
        reader = {"school": "demo", "intake": "gateway"}.get(role, role)
        setting = "NOUBA_INTAKE_DATABASE_URL" if role == "intake" else "NOUBA_DATABASE_URL"
        folders[reader][setting] = address.format(f"nouba_{role}", made[f"postgres {role}"])


def add_rabbitmq(folders: dict[str, dict[str, str]], made: Made) -> None:
    """The definitions with the users' passwords in them, salted and hashed as RabbitMQ does it."""
    definitions = json.loads(Path("/deploy/rabbitmq/definitions.json").read_text())
    for user in definitions["users"]:
        password = made[f"rabbitmq {user['name']}"]
        user["hashing_algorithm"] = "rabbit_password_hashing_sha256"
        user["password_hash"] = rabbitmq_hash(password, made[f"salt {user['name']}"])
        folders[user["name"]]["NOUBA_RABBITMQ_URL"] = f"amqp://{user['name']}:{password}@rabbitmq:5672/nouba"
    folders["rabbitmq"]["erlang_cookie"] = made["rabbitmq cookie"]
    folders["rabbitmq"]["definitions.json"] = json.dumps(definitions, indent=1)


def rabbitmq_hash(password: str, salt: str) -> str:
    """Four bytes of salt, and SHA-256 of them and the password."""
    four = bytes.fromhex(salt)[:4]
    return base64.b64encode(four + hashlib.sha256(four + password.encode()).digest()).decode()


def add_s3(folders: dict[str, dict[str, str]], made: Made) -> None:
    """SeaweedFS' identities, and each one's key in the form that every S3 client reads."""
    identities = []
    for name, actions in S3_ACTIONS.items():
        key_id, secret = made[f"s3 {name} id"][:20].upper(), made[f"s3 {name}"]
        credentials = [{"accessKey": key_id, "secretKey": secret}]
        identities.append({"name": name, "credentials": credentials, "actions": actions})
        folders[name]["aws_credentials"] = (
            f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
        )
    folders["s3"]["identities.json"] = json.dumps({"identities": identities}, indent=1)
    folders["s3"] |= inner_certificates(made)


def inner_certificates(made: Made) -> dict[str, str]:
    """What closes S3's gRPC port: it takes certificates of an authority whose key is thrown away at once."""
    for name in ("inner", "nobody"):
        if f"s3 {name}.crt" not in made:
            key, certificate = made_certificate(f"nouba s3 {name}")
            made[f"s3 {name}.crt"] = certificate
            if name == "inner":
                made["s3 inner.key"] = key
    return {name: made[f"s3 {name}"] for name in ("inner.crt", "inner.key", "nobody.crt")}


def made_certificate(name: str) -> tuple[str, str]:
    """A new key and its self-signed certificate, in PEM."""
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "36500")
    with tempfile.TemporaryDirectory(dir=VOLUME if VOLUME.is_dir() else None) as folder:
        key, certificate = Path(folder, "key"), Path(folder, "crt")
        subprocess.run(
            ["openssl", "req", "-x509", *kind, "-subj", f"/CN={name}", "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        return key.read_text(), certificate.read_text()


def add_providers(folders: dict[str, dict[str, str]], made: Made) -> None:
    """The school's providers come from the environment; the demonstration's are on where its mode is asked for."""
    tokens = os.environ.get("NOUBA_API_TOKENS") or f"nouba_{made['api token']}"
    for reader in ("gateway", "stats", "demo"):
        folders[reader]["NOUBA_API_TOKENS"] = tokens
    whsec = base64.b64encode(bytes.fromhex(made["standard_webhooks"])).decode()
    providers = {
        "NOUBA_PSP_CHARGILY_SECRETS": f"test_sk_{made['chargily']}",
        "NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS": f"whsec_{whsec}",
        "NOUBA_PSP_STRIPE_SECRETS": f"whsec_{made['stripe']}",
        "NOUBA_PSP_STRIPE_API_KEY": f"sk_test_{made['stripe api key']}",
        "NOUBA_PSP_STRIPE_BASE_URL": "http://psp:8092",
        "NOUBA_PSP_GENERIC_SECRETS": made["generic"],
        "NOUBA_PSP_GENERIC_HEADER": "X-Signature",
        "NOUBA_PSP_SATIM_USERNAME": "SAT0000000001",
        "NOUBA_PSP_SATIM_PASSWORD": made["satim"],
        "NOUBA_PSP_SATIM_TERMINAL": "E000000001",
        "NOUBA_PSP_SATIM_BASE_URL": "http://psp:8092/payment/rest",
        "NOUBA_PSP_CHARGILY_BASE_URL": "http://psp:8092",
    }
    folders["demo"].update(providers)
    has_own = any(name.startswith("NOUBA_PSP_") for name in os.environ)
    if os.environ.get("NOUBA_PAYMENTS_MODE") == "test" and not has_own:
        folders["gateway"].update(providers)


def write(folder: Path, files: dict[str, str], group: int) -> None:
    """Make the folder hold these files and no others, for root and for `group` alone."""
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, content in files.items():
        new = folder / f".{name}"
        new.write_text(content)
        os.chown(new, 0, group)
        new.chmod(0o440)
        new.replace(folder / name)
    os.chown(folder, 0, group)
    folder.chmod(0o750)


if __name__ == "__main__":
    main()
