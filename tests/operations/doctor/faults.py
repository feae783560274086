"""Faults that a setting or a statement puts into a healthy school, and what the doctor has to say of each."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from services.webhook_gateway.inbox.spool.sqlite_file import FILE, open_file
from tests.operations.doctor.school import School, keep_day


def _changed(name: str, change: Callable[[str], str]) -> Callable[[School], None]:
    def seed(school: School) -> None:
        school.settings[name] = change(school.settings.get(name, ""))

    return seed


def _with(old: Callable[[str], str | None], new: str) -> Callable[[str], str]:
    return lambda url: url.replace(str(old(url)), new)


def _executed(statement: str) -> Callable[[School], None]:
    return lambda school: school.execute(statement)


def _age_the_statistics(school: School) -> None:
    school.execute("DELETE FROM daily_stats_newest")
    keep_day(school, "2026-01-01")


def _spooled(table: str) -> Callable[[School], None]:
    """An event of an hour ago in the spool."""

    def seed(school: School) -> None:
        folder = Path(school.settings["NOUBA_GATEWAY_SPOOL_DIR"])
        with closing(open_file(folder, 2**20)) as connection:
            connection.execute(
                f"INSERT INTO {table} (provider, dedupe_key, body_sha256, state, method, headers, body, signed,"  # noqa: S608
                " received_at) VALUES ('generic', 'x', x'00', 'received', 'POST', '{}', x'00', 1, unixepoch() - 3600)"
            )

    return seed


def _damage_the_spool(school: School) -> None:
    (Path(school.settings["NOUBA_GATEWAY_SPOOL_DIR"]) / FILE).write_bytes(b"no database" * 1000)


def _netloc(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


_OLD_EVENT = (
    "INSERT INTO webhook_events (provider, dedupe_key, state, body, body_sha256, received_at)"
    " VALUES ('generic', 'x', 'received', '{}', sha256('{}'), now() - interval '1 hour')"
)

#: The name of a fault, how it gets into the school, whom the doctor blames, and a word of what it says or advises.
FAULTS: dict[str, tuple[Callable[[School], None], str, str]] = {
    "no database is named": (_changed("NOUBA_DATABASE_URL", lambda _: ""), "database", "NOUBA_DATABASE_URL"),
    "nobody listens at the database's address": (
        _changed("NOUBA_DATABASE_URL", _with(_netloc, "127.0.0.1:1")),
        "database",
        "nobody answers",
    ),
    "the database's host has no address": (
        _changed("NOUBA_DATABASE_URL", _with(_netloc, "no-such-host.invalid")),
        "database",
        "no address",
    ),
    "the role is unknown": (
        _changed("NOUBA_DATABASE_URL", _with(lambda url: urlsplit(url).username, "stranger")),
        "database",
        "role|password",
    ),
    "the password of the database is wrong": (
        _changed("NOUBA_DATABASE_URL", _with(lambda url: urlsplit(url).password, "wrong")),
        "database",
        "password",
    ),
    "the database's address has an option that nobody knows": (
        _changed("NOUBA_DATABASE_URL", lambda url: f"{url}?nonsense=1"),
        "database",
        "nonsense",
    ),
    "the database does not exist": (
        _changed("NOUBA_DATABASE_URL", _with(lambda url: urlsplit(url).path, "/nothing")),
        "database",
        "does not exist",
    ),
    "no migration was run": (_executed("DROP TABLE alembic_version"), "schema", "nouba migrate"),
    "the last migration is missing": (
        _executed("UPDATE alembic_version SET version_num = '0035'"),
        "schema",
        "nouba migrate",
    ),
    "the database is newer than the program": (
        _executed("UPDATE alembic_version SET version_num = '9999'"),
        "schema",
        "newer",
    ),
    "the database was made read-only": (
        lambda school: school.execute(
            f"ALTER DATABASE {urlsplit(school.database_url).path[1:]} SET default_transaction_read_only = on"
        ),
        "database",
        "read-only database",
    ),
    "webhooks wait in the spool": (_spooled("events"), "spool", "webhooks wait in it"),
    "the database did not take a spooled webhook": (_spooled("refused"), "spool", "did not take"),
    "the spool's folder is missing": (_changed("NOUBA_GATEWAY_SPOOL_DIR", lambda _: "/nothing"), "spool", "/nothing"),
    "the spool's file is damaged": (_damage_the_spool, "spool", "cannot be read"),
    "messages wait for RabbitMQ": (
        _executed(
            "INSERT INTO outbox (service, message, created_at) VALUES ('gateway', '{}', now() - interval '1 hour')"
        ),
        "outbox",
        "gateway",
    ),
    "nobody listens at RabbitMQ's address": (
        _changed("NOUBA_RABBITMQ_URL", _with(_netloc, "127.0.0.1:1")),
        "RabbitMQ",
        "Nobody answers",
    ),
    "the password of RabbitMQ is wrong": (
        _changed("NOUBA_RABBITMQ_URL", _with(lambda url: urlsplit(url).password, "wrong")),
        "RabbitMQ",
        "password",
    ),
    "the virtual host does not exist": (
        _changed("NOUBA_RABBITMQ_URL", _with(lambda url: urlsplit(url).path, "/nothing")),
        "RabbitMQ",
        "virtual host",
    ),
    "nobody listens at the address of S3": (
        _changed("NOUBA_S3_ENDPOINT_URL", lambda _: "http://127.0.0.1:1"),
        "S3",
        "Nobody answers",
    ),
    "the address of S3 has no scheme": (
        _changed("NOUBA_S3_ENDPOINT_URL", _with(lambda url: f"{urlsplit(url).scheme}://", "")),
        "S3",
        "NOUBA_S3_ENDPOINT_URL",
    ),
    "the address of S3 has no end": (_changed("NOUBA_S3_ENDPOINT_URL", lambda _: "http://[::1"), "S3", "no address"),
    "the keys of S3 are wrong": (_changed("AWS_SECRET_ACCESS_KEY", lambda _: "wrong"), "S3", "AWS_SECRET_ACCESS_KEY"),
    "the bucket is missing": (_changed("NOUBA_S3_BUCKET", lambda _: "nothing"), "S3", "no bucket nothing"),
    "no provider is switched on": (
        lambda school: school.settings.update(
            NOUBA_PSP_GENERIC_HEADER=school.settings.pop("NOUBA_PSP_GENERIC_SECRETS")
        ),
        "providers",
        "No payment provider",
    ),
    "a provider's secret is empty": (_changed("NOUBA_PSP_STRIPE_SECRETS", lambda _: ""), "providers", "empty"),
    "a provider's secret can be guessed": (
        _changed("NOUBA_PSP_GENERIC_SECRETS", lambda _: "abc"),
        "providers",
        "guess",
    ),
    "a token can be guessed": (_changed("NOUBA_API_TOKENS", lambda _: "abc"), "settings", "NOUBA_API_TOKENS"),
    "webhooks are not booked": (_executed(_OLD_EVENT), "webhooks", "nouba gateway worker"),
    "the statistics are old": (
        _age_the_statistics,
        "statistics",
        "hours ago",
    ),
    "the time zone is unknown": (_changed("NOUBA_TIMEZONE", lambda _: "Africa/Algier"), "settings", "NOUBA_TIMEZONE"),
    "there is no ffmpeg": (_changed("NOUBA_FFMPEG", lambda _: "/nothing/ffmpeg"), "ffmpeg", "NOUBA_FFMPEG"),
    "the scratch folder is missing": (
        _changed("NOUBA_TRANSCODER_SCRATCH_DIR", lambda _: "/nothing"),
        "scratch",
        "/nothing",
    ),
}
