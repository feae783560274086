"""Lists count to ten thousand and say that there are more."""

import contextlib
import json

import psycopg2
import pytest
from click.testing import CliRunner

from shared.cli import main

EVENTS = """
INSERT INTO webhook_events (provider, dedupe_key, body, body_sha256, state)
SELECT 'generic', 'e' || i, '', '', 'applied' FROM generate_series(1, %s) AS i
"""
LETTERS = """
INSERT INTO dead_letters (queue, message_id, message, death, died_at, cause, attempts)
SELECT 'webhooks', 'm' || i, '', 'd' || i, now(), 'retries', 1 FROM generate_series(1, %s) AS i
"""


@pytest.mark.parametrize(
    ("command", "rows", "key"),
    [pytest.param("webhooks", EVENTS, "events", id="webhooks"), pytest.param("dead", LETTERS, "letters", id="dead")],
)
def test_a_list_counts_to_ten_thousand_and_says_that_there_are_more(
    command: str, rows: str, key: str, database_url: str
) -> None:
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(rows, (10_000,))
        connection.commit()
        exact = json.loads(listed(command, database_url, "--json"))
        cursor.execute(rows.replace("|| i", "|| -i"), (1,))
        connection.commit()
        more = json.loads(listed(command, database_url, "--json"))

    assert (exact["count"], exact["more"], len(exact[key])) == (10_000, False, 50)
    assert (more["count"], more["more"], len(more[key])) == (10_000, True, 50)
    assert listed(command, database_url).endswith("50 of 10,000+.\n")


def listed(command: str, database_url: str, *options: str) -> str:
    answer = CliRunner().invoke(main, [command, "list", *options], env={"NOUBA_DATABASE_URL": database_url})
    assert answer.exit_code == 0, answer.output
    return answer.output
