"""`nouba`: one command, made of the commands of the services that are installed here."""

from importlib.metadata import entry_points, version
from importlib.util import find_spec

import click

from shared.runtime.doctor.cli import doctor
from shared.runtime.settings import SettingsError


class Nouba(click.Group):
    """A group whose faults are sentences: a wrong setting is no traceback."""

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


main.add_command(doctor)

for entry in entry_points(group="nouba.commands"):
    # an image holds its own service alone
    if find_spec(entry.module.rsplit(".", 1)[0]) is not None:
        main.add_command(entry.load())
