# ruff: noqa: E501 - a page is one line a paragraph
"""Prints docs/roles.md from deploy/role_matrix.toml; the grants themselves are in deploy/postgres/roles.sql."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

MATRIX = Path(__file__).with_suffix(".toml")
PRIVILEGES = ("select", "insert", "update")

_HEAD = """\
# Roles

Who may do what, from [deploy/role_matrix.toml](../deploy/role_matrix.toml); this page is made by `python -m deploy.role_matrix`.
Tests apply it to a real PostgreSQL, RabbitMQ and S3 server and try every cell that has to be refused; [roles.sql](../deploy/postgres/roles.sql) has the grants.

| role | used by |
|---|---|
| `nouba_intake` | the gateway's web process for requests of strangers (`NOUBA_INTAKE_DATABASE_URL`): it inserts webhooks and messages, and reads and changes no body, no payment and no balance |
| `nouba_gateway` | the payments worker, the events worker, and the gateway's routes that need a token |
| `nouba_transcoder`, `nouba_stats`, `nouba_console` | the service of that name |
| `nouba_playback` | the playback service: the keys of encrypted lessons, and who watched which |
| `nouba_school` | the school's own application |

Operators' commands (`nouba dead`, `nouba queues pause`) run with the console's role: `docker compose exec console nouba dead list`. A service's role sees the dead letters of its own queue alone.
A gateway that serves webhooks and the school's API in one process holds the addresses of two roles. An attacker who runs code in it has both; one who injects SQL through a webhook has `nouba_intake` alone. With `NOUBA_GATEWAY_SERVES=webhooks` the process for strangers holds no other address.
"""


def read() -> dict[str, Any]:
    """The whole file."""
    return tomllib.loads(MATRIX.read_text())


def page() -> str:
    """docs/roles.md."""
    matrix = read()
    lines = [_HEAD, "## PostgreSQL", ""]
    lines += ["| table | role | reads | inserts | updates | deletes |", "|---|---|---|---|---|---|"]
    for table, roles in matrix["tables"].items():
        for role, rights in roles.items():
            cells = [_columns(rights.get(privilege)) for privilege in PRIVILEGES]
            cells.append("yes" if rights.get("delete") else "")
            lines.append(f"| `{table}` | `{role}` | {' | '.join(cells)} |")
    lines += ["", "Rows: a role sees and changes those with these values alone.", ""]
    lines += ["| table | column | role | values |", "|---|---|---|---|"]
    for table, rows in matrix["rows"].items():
        for role, values in rows.items():
            if role != "column":
                lines.append(f"| `{table}` | `{rows['column']}` | `{role}` | {_columns(values)} |")
    lines += [
        "",
        "Functions with the rights of the tables' owner, for retention; `nouba erase` needs the owner itself.",
        "",
    ]
    lines += ["| function | who may call it |", "|---|---|"]
    lines += [f"| `{name}` | {_columns(roles) or 'the owner alone'} |" for name, roles in matrix["functions"].items()]
    lines += ["", "## RabbitMQ", "", "| user | consumes | publishes |", "|---|---|---|"]
    for user, rights in matrix["queues"].items():
        lines.append(f"| {user} | {', '.join(rights['consumes'])} | {', '.join(rights['publishes'])} |")
    lines += ["", "## S3", "", "| identity | actions |", "|---|---|"]
    lines += [f"| {name} | {', '.join(actions)} |" for name, actions in matrix["objects"].items()]
    lines += ["", "## Ports", "", "On the machine's loopback address:", "", "| service | port |", "|---|---|"]
    lines += [f"| {service} | {port} |" for service, port in matrix["ports"].items()]
    lines += ["", "Between containers, which reach every port of each container that shares a network with them:", ""]
    lines += ["| network | containers |", "|---|---|"]
    lines += [f"| `{network}` | {', '.join(names)} |" for network, names in matrix["networks"].items()]
    lines += ["", "| container | port | asks for | is reached from |", "|---|---|---|---|"]
    for name, ports in matrix["inner_ports"].items():
        where = ", ".join(f"`{network}`" for network, names in matrix["networks"].items() if name in names)
        lines += [f"| {name} | {port} | {asks} | {where} |" for port, asks in ports.items()]
    return "\n".join(lines) + "\n"


def peers_of(networks: Mapping[str, Collection[str]], name: str) -> set[str]:
    """The containers that reach the container `name`: those that share a network with it."""
    return {peer for names in networks.values() if name in names for peer in names} - {name}


def _columns(named: str | list[str] | None) -> str:
    if named is None:
        return ""
    return "all" if named == "*" else ", ".join(f"`{one}`" for one in named)


if __name__ == "__main__":
    print(page(), end="")
