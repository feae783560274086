"""`nouba`: one command, made of the commands of the services that are installed here."""

from importlib.metadata import entry_points, version
from importlib.util import find_spec

import click

from shared.runtime.lazy_group import LazyGroup
from shared.runtime.settings import SettingsError

#: Those of the services that are installed; an image holds its own service alone.
SERVICES = {
    entry.name: entry.value
    for entry in entry_points(group="nouba.commands")
    if find_spec(".".join(entry.module.split(".")[:2])) is not None
}
#: What support and operators use daily is reached without the service's name.
OPERATORS = {
    "api-tokens": "shared.operations.api_tokens.cli:api_tokens",
    "courses": "shared.operations.integration.cli:courses",
    "endpoints": "shared.operations.webhook_endpoints.cli:endpoints",
    "erase": "shared.operations.retention.cli:erase",
    "payments": "shared.operations.payments.cli:payments",
    "retention": "shared.operations.retention.cli:retention",
    "school-tables": "shared.operations.integration.cli:school_tables",
    "users": "shared.operations.integration.cli:users",
    "wallet": "shared.operations.payments.cli:wallet",
    "webhooks": "shared.operations.webhook_events.cli:webhooks",
}
#: Imported when they are asked for and not before: prometheus_client decides at its first import how processes that
#: share a port add up, which a server has to have said by then.
COMMANDS = {
    "dead": "shared.operations.dead_letters.cli:dead",
    "doctor": "shared.operations.doctor.cli:doctor",
    "queues": "shared.operations.queues.cli:queues",
    **SERVICES,
    **(OPERATORS if "gateway" in SERVICES else {}),
}


class Nouba(LazyGroup):
    """A group whose faults are sentences: a wrong setting is no traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except SettingsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Nouba, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("nouba"), prog_name="nouba")
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
