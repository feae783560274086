"""`nouba`: one command, made of the commands of the services that are installed here."""

import gc
from importlib.metadata import distribution
from importlib.util import find_spec

import click

from shared.runtime.lazy_group import LazyGroup, Place
from shared.runtime.settings import SettingsError

_NOUBA = distribution("nouba")
_SUMMARIES = {
    "console": "Serve the operators' web console.",
    "gateway": "Accept payment webhooks and settle them.",
    "ledger": "Verify the hash chain over webhooks, money and decisions.",
    "playback": "Serve lessons to players by signed addresses.",
    "stats": "Compute, show and verify daily statistics.",
    "transcoder": "Turn uploads into adaptive HLS.",
}
#: Those of the services that are installed; an image holds its own service alone.
SERVICES = {
    entry.name: Place(entry.value, _SUMMARIES[entry.name])
    for entry in _NOUBA.entry_points.select(group="nouba.commands")
    if find_spec(".".join(entry.module.split(".")[:2])) is not None
}
#: What support and operators use daily is reached without the service's name.
OPERATORS = {
    "api-tokens": Place("shared.operations.api_tokens.cli:api_tokens", "Create, list and revoke API tokens."),
    "courses": Place("shared.operations.integration.cli:courses", "Add courses."),
    "endpoints": Place(
        "shared.operations.webhook_endpoints.cli:endpoints", "Manage endpoints of events and their deliveries."
    ),
    "erase": Place("shared.operations.retention.cli:erase", "Erase one person's data and keep the books."),
    "payments": Place(
        "shared.operations.payments.cli:payments", "Find and refund payments; correct wallets; record payouts."
    ),
    "retention": Place("shared.operations.retention.cli:retention", "Show and erase what is past its retention."),
    "school-tables": Place(
        "shared.operations.integration.cli:school_tables", "Check the database tables that Nouba and the school share."
    ),
    "users": Place("shared.operations.integration.cli:users", "Import users."),
    "wallet": Place("shared.operations.payments.cli:wallet", "Explain a user's balance and subscriptions."),
    "webhooks": Place(
        "shared.operations.webhook_events.cli:webhooks", "List, show, replay and resolve providers' webhooks."
    ),
}
#: Imported when they are asked for and not before: prometheus_client decides at its first import how processes that
#: share a port add up, which a server has to have said by then.
COMMANDS = {
    "dead": Place("shared.operations.dead_letters.cli:dead", "List, replay and discard dead letters."),
    "doctor": Place("shared.operations.doctor.cli:doctor", "Diagnose this installation; print the fix for each fault."),
    "queues": Place("shared.operations.queues.cli:queues", "Show, pause and resume queues."),
    **SERVICES,
    **(OPERATORS if "gateway" in SERVICES else {}),
}


class Nouba(LazyGroup):
    """A group whose faults are sentences: a wrong setting is no traceback."""

    def invoke(self, context: click.Context) -> object:
        # a start makes 200,000 objects that stay: by Python's own threshold, 700, a search for garbage walks them again
        # and again, which is a tenth of the start's CPU
        gc.set_threshold(20_000)
        try:
            return super().invoke(context)
        except SettingsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Nouba, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_NOUBA.version, prog_name="nouba")
def main() -> None:
    """Payment webhooks, video transcoding and daily statistics for an online school.

    \b
    Examples:
      nouba migrate                upgrade the database schema
      nouba gateway serve          accept webhooks
      nouba gateway worker         settle them
    """


@main.command()
def migrate() -> None:
    """Upgrade the database schema to the newest version."""
    from shared.runtime.migrations import migrate as apply
    from shared.runtime.settings import DatabaseSettings, read_settings

    apply(read_settings(DatabaseSettings).database_url.get_secret_value())
    click.echo("The database has the newest schema.")
