"""`nouba transcoder lint`: checks a lesson against the rules."""

import json
from pathlib import Path

import click

from services.transcoder.encoding_settings import EncodingSettings
from services.transcoder.hls.lint.check import Report, check
from services.transcoder.hls.lint.fetch import is_http
from services.transcoder.hls.lint.film_signals import Film
from services.transcoder.hls.lint.limits import Limits
from services.transcoder.hls.lint.rules import RULES, Finding
from shared.runtime.settings import read_settings

_DEFAULT = Limits()


@click.command()
@click.argument("master", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option(
    "--film", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The upload that it was made of."
)
@click.option("--rules", "list_rules", is_flag=True, help="Show every rule, and check nothing.")
@click.option(
    "--max-mib",
    type=click.IntRange(1, 1 << 20),
    default=_DEFAULT.mib,
    show_default=True,
    help="Most memory of a server's lesson, in MiB.",
)
@click.option(
    "--max-files",
    type=click.IntRange(min=1),
    default=_DEFAULT.files,
    show_default=True,
    help="Most files of a server's lesson.",
)
@click.option(
    "--max-seconds",
    type=click.FloatRange(1, 7 * 86_400),
    default=_DEFAULT.seconds,
    show_default=True,
    help="Longest check of a server's lesson, in seconds.",
)
def lint(
    master: str | None,
    film: Path | None,
    as_json: bool,
    list_rules: bool,
    max_mib: int,
    max_files: int,
    max_seconds: float,
) -> None:
    """Check a lesson against Apple's rules and RFC 8216.

    MASTER is the address or path of its multivariant playlist.

    With --film, also whether it shows that film: in its shape from beginning to end, and in sync.

    The lesson of a server is bounded as a whole: options --max-... raise the limits. A local folder has no limits.

    Exit status 0 means that no MUST rule of Apple's authoring specification or RFC 8216 is broken.
    """
    if list_rules:
        for rule in RULES:
            click.echo(f"{rule.source:20} {rule.level:6} {rule.says}")
        return
    if master is None:
        raise click.UsageError("Name a master playlist: an http(s) address or a path.")
    if not is_http(master) and not Path(master).is_file():
        raise click.UsageError(f"{master} is neither an http(s) address nor a file.")
    from services.transcoder.cli_run import ffmpeg_of

    compared = Film(film, ffmpeg_of(read_settings(EncodingSettings))) if film else None
    report = check(master, compared, Limits(mib=max_mib, files=max_files, seconds=max_seconds))
    if as_json:
        click.echo(json.dumps(_plain(report), ensure_ascii=False))
    else:
        _show(report)
    raise SystemExit(0 if report.passed else 1)


def _plain(report: Report) -> dict[str, object]:
    return {
        "master": report.address,
        "passed": report.passed,
        "rules": report.rules,
        "findings": [
            {"source": f.rule.source, "level": f.rule.level, "rule": f.rule.says, "message": f.message}
            for f in report.findings
        ],
        "unreadable": list(report.unreadable),
    }


def _show(report: Report) -> None:
    for finding in report.findings:
        click.echo(_sentence(finding))
    for reason in report.unreadable:
        click.echo(f"UNREADABLE {reason}")
    errors, warnings = len(report.errors), len(report.warnings)
    click.echo(f"{report.rules} rules: {errors} broken, {warnings} warnings, {len(report.unreadable)} not checked.")


def _sentence(finding: Finding) -> str:
    return f"{finding.rule.level:6} {finding.rule.source}: {finding.rule.says}. Here: {finding.message}"
