"""`nouba webhooks list` shows what strangers wrote as they wrote it."""

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from shared.cli import main
from shared.operations.webhook_events.replay import MODE_MISMATCH
from shared.runtime.database import build_engine


@pytest.mark.parametrize("words", ["[/x]", "[red]x[/red]", r"\[/x]", ":skull: [link=x]"])
def test_a_reference_and_a_reason_are_no_markup(database_url: str, words: str) -> None:
    # Given an event whose reference and reason quote a stranger
    engine = build_engine(database_url, pool_size=1)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO webhook_events (provider, dedupe_key, state, body, body_sha256, reference, reason)"
                " VALUES ('generic', 'x', 'quarantined', '', '', :reference, :reason)"
            ),
            {"reference": f"a{words}", "reason": f"b{words}"},
        )
    engine.dispose()

    # When events are listed
    reported = CliRunner().invoke(
        main, ["webhooks", "list"], env={"NOUBA_DATABASE_URL": database_url, "COLUMNS": "200"}
    )

    # Then both are there, sign by sign
    assert reported.exit_code == 0, reported.output
    assert f"a{words} " in reported.output
    assert f"b{words}" in reported.output


def test_what_a_stranger_sent_moves_no_cursor(database_url: str) -> None:
    # Given a webhook whose reference, reason and body clear a terminal
    words, shown = "\x1b[2J\x9b1m", r"\x1b[2J\x9b1m"
    engine = build_engine(database_url)
    with engine.begin() as connection:
        insert = (
            "INSERT INTO webhook_events (provider, dedupe_key, reference, reason, body, body_sha256, state)"
            " VALUES ('generic', :key, :reference, :reason, :body, '', 'quarantined') RETURNING id"
        )
        given = {"key": "k", "reference": words, "reason": words, "body": words.encode()}
        event_id = connection.scalar(text(insert), given)

    # When an operator reads it, then each control character is written out
    for arguments in (["list"], ["show", str(event_id), "--body"]):
        result = CliRunner().invoke(main, ["webhooks", *arguments], env={"NOUBA_DATABASE_URL": database_url})
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output
        assert "\x9b" not in result.output
        assert shown in result.output

    # And a refused decision quotes the reason so, too
    with engine.begin() as connection:
        values = {"reason": f"{MODE_MISMATCH} {words}"}
        event_id = connection.scalar(text(insert), {**given, **values, "key": "l"})
    engine.dispose()
    arguments = ["webhooks", "resolve", str(event_id), "--accept", "--reason", "x"]
    result = CliRunner().invoke(main, arguments, env={"NOUBA_DATABASE_URL": database_url})
    assert result.exit_code == 1
    assert shown in result.output
    assert "\x1b" not in result.output
