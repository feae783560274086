"""`nouba`: one command, made of the commands of the services that are installed here."""

from importlib import import_module
from importlib.metadata import entry_points, version
from importlib.util import find_spec

import click

from shared.runtime.settings import SettingsError

#: Imported when they are asked for and not before: they count, and prometheus_client decides at its first import how
#: processes that share a port add up, which a server has to have said by then.
COMMANDS = {
    "dead": "shared.runtime.dead_letters.cli",
    "doctor": "shared.runtime.doctor.cli",
    "queues": "shared.runtime.queues.cli",
}


class Nouba(click.Group):
    """A group whose faults are sentences: a wrong setting is no traceback."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *COMMANDS])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return super().get_command(context, name)
        command = getattr(import_module(COMMANDS[name]), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except SettingsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Nouba, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("nouba"), prog_name="nouba")
def main() -> None:
    """Money in, video out, numbers every morning: the background half of an online school.

    \b
    Examples:
      nouba migrate                bring the database to the newest schema
      nouba gateway serve          take webhooks
      nouba gateway worker         book them
    """


@main.command()
def migrate() -> None:
    """Bring the database of NOUBA_DATABASE_URL to the newest schema."""
    from shared.runtime.migrations import migrate as apply
    from shared.runtime.settings import DatabaseSettings, read_settings

    apply(read_settings(DatabaseSettings).database_url.get_secret_value())
    click.echo("The database has the newest schema.")


for entry in entry_points(group="nouba.commands"):
    # an image holds its own service alone
    if find_spec(".".join(entry.module.split(".")[:2])) is not None:
        service = entry.load()
        main.add_command(service)
        # what operators use daily is reached without the service's name too
        if "events" in service.commands:
            main.add_command(service.commands["events"])
