"""`nouba api-tokens`: create, list and revoke API tokens."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from rich.table import Table

from shared.operations.api_tokens import tokens as stored
from shared.operations.api_tokens.tokens import TokenError
from shared.operations.cli_options import actor_option, cell, json_option, operators_database, table_console
from shared.runtime.api_tokens import Scope, parse_tokens
from shared.runtime.settings import ApiTokens, read_settings

APPLICATION = "nouba api-tokens"


class _Configured(BaseSettings):
    """The other tokens, where this process may read them."""

    model_config = SettingsConfigDict(env_prefix="NOUBA_", extra="ignore")

    api_tokens: ApiTokens = SecretStr("")


class _Scopes(click.ParamType[frozenset[Scope]]):
    """Scopes separated by commas."""

    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[Scope]:
        if isinstance(value, frozenset):
            return value
        words = [word.strip() for word in value.split(",")]
        if unknown := [word for word in words if word not in set(Scope)]:
            self.fail(f"{unknown[0]!r} is no scope; there are {', '.join(Scope)}", param, ctx)
        return frozenset(Scope(word) for word in words)


class _Expiry(click.ParamType[datetime]):
    """`2027-01-31`, or `90d` from now."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            days = re.fullmatch(r"([0-9]{1,5})d", value)
            expires_at = (
                datetime.now(UTC) + timedelta(days=int(days[1])) if days else datetime.fromisoformat(value).astimezone()
            )
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no instant; write 2027-01-31 or, for days from now, 90d", param, ctx)
        if expires_at <= datetime.now(UTC):
            self.fail(f"{value!r} is over already", param, ctx)
        return expires_at


@click.group()
def api_tokens() -> None:
    """Create, list and revoke API tokens.

    Each person and each application has one of its own. They open the API, not the console.

    \b
    Examples:
      nouba api-tokens create --name website --scope read,payments
      nouba api-tokens create --name amina --scope read,operate --expires 90d
      nouba api-tokens list
      nouba api-tokens revoke website --reason "the laptop is lost"
    """


@api_tokens.command()
@click.option("--name", required=True, help="The person or the application that gets it.")
@click.option(
    "--scope", "scopes", required=True, type=_Scopes(), help="read, payments, uploads, operate; comma-separated."
)
@click.option("--expires", "expires_at", type=_Expiry(), help="2027-01-31, or 90d from now; never without it.")
@actor_option
@json_option
def create(name: str, scopes: frozenset[Scope], expires_at: datetime | None, actor_name: str, as_json: bool) -> None:
    """Create a token and print it, this once."""
    configured = [token.name for token in parse_tokens(read_settings(_Configured).api_tokens.get_secret_value())]
    with operators_database(APPLICATION) as engine:
        try:
            token = stored.create_token(
                engine, name, scopes, created_by=actor_name, expires_at=expires_at, configured=configured
            )
        except TokenError as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        expiry = expires_at.isoformat() if expires_at else None
        click.echo(json.dumps({"name": name, "scopes": sorted(scopes), "expires_at": expiry, "token": token}))
        return
    click.echo("Keep it now; it is not shown again.", err=True)
    click.echo(token)


@api_tokens.command("list")
@click.option("--all", "with_revoked", is_flag=True, help="Revoked ones, too.")
@json_option
def list_command(with_revoked: bool, as_json: bool) -> None:
    """List tokens with their scopes and last use."""
    with operators_database(APPLICATION) as engine, engine.connect() as connection:
        found = stored.list_tokens(connection, with_revoked=with_revoked)
    if as_json:
        click.echo(json.dumps({"tokens": [one.as_json() for one in found]}))
        return
    table = Table("name", "scopes", "created by", "created", "last used", "expires", "revoked")
    for one in found:
        times = (one.created_at, one.last_used_at, one.expires_at, one.revoked_at)
        shown = [f"{at:%Y-%m-%d %H:%M}" if at else "" for at in times]
        table.add_row(*map(cell, (one.name, ", ".join(one.scopes), one.created_by, *shown)))
    table_console().print(table)


@api_tokens.command()
@click.argument("name")
@click.option("--reason", help="For the audit log.")
@actor_option
def revoke(name: str, reason: str | None, actor_name: str) -> None:
    """Revoke a token: it is invalid from the next request on."""
    with operators_database(APPLICATION) as engine:
        try:
            stored.revoke_token(engine, name, who=actor_name, why=reason)
        except TokenError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{name} is revoked.")
