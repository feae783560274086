"""`nouba doctor`: runs every check of servers and installed services."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec

import click
from rich.console import Console
from rich.text import Text

from shared.operations.doctor.findings import Check, CheckResult, Finding, examine
from shared.operations.doctor.postgres import check_database
from shared.operations.doctor.rabbitmq import check_rabbitmq
from shared.runtime.visible_text import visible

#: Every service may have a module of this name, with its own CHECKS.
MODULE = "doctor_checks"
_SIGNS = {
    CheckResult.FINE: ("✓", "green"),
    CheckResult.NOTE: ("•", "yellow"),
    CheckResult.FAULT: ("✗", "bold red"),
    CheckResult.UNKNOWN: ("?", "dim"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a program.")
def doctor(as_json: bool) -> None:
    """Diagnose this installation; print the fix for each fault.

    The exit status is 1 if there is a fault.

    It checks the servers of the settings in force, and what the services installed here need of this machine.
    It writes nothing but one object to the bucket, and removes it.

    \b
    Examples:
      nouba doctor
      nouba doctor --json | jq '.findings[] | select(.verdict == "fault")'
    """
    findings = []
    console = Console(highlight=False)
    for finding in examine(checks()):
        findings.append(finding)
        if not as_json:
            _show(console, finding)
    faults = sum(finding.verdict is CheckResult.FAULT for finding in findings)
    if as_json:
        click.echo(json.dumps({"faults": faults, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        console.print(_summary(faults))
    raise SystemExit(1 if faults else 0)


def checks() -> Iterator[Check]:
    """All of them, the servers first."""
    yield check_database
    yield check_rabbitmq
    packages = sorted(entry.module.rpartition(".")[0] for entry in entry_points(group="nouba.commands"))
    for package in packages:
        if _is_here(package) and find_spec(f"{package}.{MODULE}") is not None:
            yield from import_module(f"{package}.{MODULE}").CHECKS


def _is_here(package: str) -> bool:
    """An image names the commands of all services, and holds its own service alone."""
    # the service first: a lookup inside one that is not installed would import it
    service = ".".join(package.split(".")[:2])
    return find_spec(service) is not None and find_spec(package) is not None


def _show(console: Console, finding: Finding) -> None:
    sign, style = _SIGNS[finding.verdict]
    line = (
        Text(f"{sign} ", style).append(f"{finding.subject}: ", "bold").append(visible(finding.says), "default not bold")
    )
    console.print(line)
    if finding.fix:
        console.print(Text(f"    {visible(finding.fix)}", "cyan"))


def _summary(faults: int) -> Text:
    if not faults:
        return Text("Nothing is wrong here.", "green")
    return Text(f"{faults} {'fault' if faults == 1 else 'faults'} to mend.", "bold red")
