"""Doctor checks of the gateway: secrets, tokens, port, bucket, settled events."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import text

from services.webhook_gateway.errors import NotReadyError
from services.webhook_gateway.events_out.settings import EventsSettings
from services.webhook_gateway.http.readiness import MAX_UNSETTLED_SECONDS
from services.webhook_gateway.inbox.spool.doctor_checks import check_spool
from services.webhook_gateway.providers.registry import enabled
from services.webhook_gateway.providers.settings import ProviderSettings
from services.webhook_gateway.providers.settings import read_settings as read_psp_settings
from services.webhook_gateway.settings import GatewaySettings
from shared.operations.api_tokens.tokens import ids_of_names, list_tokens
from shared.operations.doctor.findings import Check, Finding, fault, fine, note
from shared.operations.doctor.port_check import check_port
from shared.operations.doctor.postgres import read_database
from shared.operations.doctor.s3 import check_bucket
from shared.runtime.api_tokens import ApiToken
from shared.runtime.settings import read_settings

#: Shorter ones can be guessed by trying.
MIN_SECRET_BYTES = 16


def _providers() -> Iterator[Finding]:
    try:
        settings = read_psp_settings()
        names = sorted(enabled(settings))
    except NotReadyError as error:
        yield fault("providers", str(error), "Correct it: docs/providers.md describes each provider's settings.")
        return
    if not names:
        yield fault("providers", "No payment provider is switched on.", "Set the secret of one: docs/providers.md.")
        return
    if weak := _weak(settings):
        yield fault(
            "providers",
            f"{', '.join(weak)} holds a secret shorter than {MIN_SECRET_BYTES} bytes, which can be guessed.",
            "Have the provider make a new one.",
        )
    yield fine("providers", f"Switched on: {', '.join(names)}.")


def _weak(settings: ProviderSettings) -> list[str]:
    """The settings of signing secrets of which one is too short; a public key is not secret, and long anyway."""
    named = {
        "NOUBA_PSP_CHARGILY_SECRETS": settings.chargily_secrets,
        "NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS": settings.standard_webhooks_secrets,
        "NOUBA_PSP_STRIPE_SECRETS": settings.stripe_secrets,
        "NOUBA_PSP_GENERIC_SECRETS": settings.generic_secrets,
    }
    return [
        name
        for name, secrets in named.items()
        if any(len(secret.get_secret_value().encode()) < MIN_SECRET_BYTES for secret in secrets or ())
    ]


def _tokens() -> Iterator[Finding]:
    tokens = read_settings(GatewaySettings).tokens
    named = [f"{token.name} ({'+'.join(sorted(token.scopes))})" for token in tokens]
    now = datetime.now(UTC)
    for token in read_database(list_tokens) or []:
        if token.expires_at is None or token.expires_at > now:
            used = f"last used {token.last_used_at:%Y-%m-%d}" if token.last_used_at else "never used"
            named.append(f"{token.name} ({'+'.join(sorted(token.scopes))}, {used})")
    if named:
        yield _namesakes(tokens) or fine("API tokens", f"Valid: {', '.join(named)}.")
    else:
        fix = "Make one with `nouba api-tokens create`, or set NOUBA_API_TOKENS."
        yield note("API tokens", "There is none, so nobody can upload a lesson.", fix)


def _namesakes(tokens: Sequence[ApiToken]) -> Finding | None:
    """Names of the setting that stored tokens have, too: `nouba api-tokens create` refuses none that comes later."""
    stored = read_database(lambda connection: ids_of_names(connection, [token.name for token in tokens]))
    if not stored:
        return None
    pairs = [f"{token.id} of NOUBA_API_TOKENS and {stored[token.name]}" for token in tokens if token.name in stored]
    return note(
        "API tokens",
        f"Two valid tokens have one name: {'; '.join(pairs)} of `nouba api-tokens`. The credential in the audit log "
        "says which one acted.",
        f"Rename the entry of NOUBA_API_TOKENS, or run `nouba api-tokens revoke {next(iter(stored))}`.",
    )


def _port() -> Iterator[Finding]:
    settings = read_settings(GatewaySettings)
    yield from check_port(
        "gateway", settings.gateway_host, settings.gateway_port, "NOUBA_GATEWAY_PORT", "nouba gateway serve"
    )


def _bucket() -> Iterator[Finding]:
    settings = read_settings(GatewaySettings)
    if settings.s3_bucket is not None:
        yield from check_bucket(settings.s3_bucket, settings.s3_endpoint_url)


def _events() -> Iterator[Finding]:
    found = read_database(
        lambda connection: connection.execute(
            text(
                # each by an index of its own: of events that are final there are as many as were ever kept
                "SELECT (SELECT count(*) FROM webhook_events WHERE state = 'received' AND attempts = 0"
                " AND received_at < now() - make_interval(secs => :seconds)),"
                " (SELECT count(*) FROM webhook_events"
                " WHERE state IN ('quarantined', 'dead') AND resolution IS NULL)"
            ),
            {"seconds": MAX_UNSETTLED_SECONDS},
        ).one()
    )
    if found is None:
        return
    late, quarantined = found
    if late:
        yield fault(
            "webhooks",
            f"{late} kept webhooks have waited for more than {MAX_UNSETTLED_SECONDS // 60} minutes to be booked.",
            "See that `nouba gateway worker` runs and that its queue is not paused.",
        )
    elif quarantined:
        yield note(
            "webhooks",
            f"{quarantined} wait for a person to decide.",
            "Check `nouba webhooks list --state undecided`.",
        )
    else:
        yield fine("webhooks", "All that were kept are booked.")


class _KeptEvents(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    events_keep_days: float = float(EventsSettings.model_fields["events_keep_days"].default)


def _endpoints() -> Iterator[Finding]:
    keep_days = read_settings(_KeptEvents).events_keep_days
    found = read_database(
        lambda connection: connection.execute(
            text(
                "SELECT (SELECT count(*) FROM webhook_endpoints WHERE disabled_because IN ('gone', 'failing')),"
                " (SELECT occurred_at FROM events WHERE fanned_out_at IS NULL ORDER BY id LIMIT 1)"
                " < now() - interval '5 minutes',"
                " (SELECT extract(epoch FROM now() - min(occurred_at))::float8 / 86400 FROM events)"
            )
        ).one()
    )
    if found is None:
        return
    disabled, late, oldest_days = found
    if late:
        yield fault(
            "events",
            "Events for the school's own programs have waited for more than 5 minutes, and the table grows.",
            "See that `nouba gateway events-worker` runs: it delivers them, and removes old ones.",
        )
    elif (oldest_days or 0) > keep_days + 1:
        yield note(
            "events",
            f"The oldest event is {oldest_days:.0f} days old, and {keep_days:g} are kept: the table grows.",
            "See that `nouba gateway events-worker` runs: it removes old events, but none whose delivery is pending.",
        )
    elif disabled:
        yield note(
            "events",
            f"{disabled} endpoints were disabled because they only failed, or are gone.",
            "Check `nouba endpoints list`; then `enable` and `replay`, or `remove`.",
        )
    else:
        yield fine("events", "No event waits, and no endpoint was disabled.")


def _spool() -> Iterator[Finding]:
    settings = read_settings(GatewaySettings)
    if settings.gateway_spool_dir is None:
        yield note(
            "spool",
            "There is none: while the database is away, webhooks are refused with 503.",
            "Set NOUBA_GATEWAY_SPOOL_DIR to a folder on a disk that lasts.",
        )
        return
    yield from check_spool(settings.gateway_spool_dir, settings.gateway_spool_max_bytes)


CHECKS: tuple[Check, ...] = (_providers, _tokens, _port, _bucket, _events, _endpoints, _spool)
