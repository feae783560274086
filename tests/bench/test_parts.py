"""Each part of the benchmark runs here in seconds, on real servers; how fast anything is, no test says."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from bench import day1000, plot
from bench.__main__ import PARTS
from bench.__main__ import bench as command
from bench.day1000_school import describe
from bench.day1000_workload import Timed, everything
from bench.measures import Measure, alternate
from bench.report import BEGIN, END, unsteady, write_docs

PROJECT = Path(__file__).parents[2]
#: Of a part in its quick form: the transcoder's makes twelve lessons and a Python with a speech model.
MAX_SECONDS = 900

GATEWAY = {
    "nouba gateway serve",
    "the bare route, keeping nothing",
    "Flask and celery.send_task",
    "Flask and dramatiq.send",
}
WORKERS = {
    "nouba gateway worker, one process",
    "pgbench, as many connections",
    "pgbench, 32 events in a transaction",
    "a Celery worker, statement by statement",
    "two worker processes",
}
PINNED = {"two workers and the servers on two cores", "one worker and the servers on one core"}
RELAYS = {"nouba's relay, from the outbox", "pika, pipelined", "dramatiq.send"}
LADDERS = {
    "nouba transcoder run",
    "one bare ffmpeg",
    "one bare ffmpeg, threads as it likes",
    "one ffmpeg a rendition",
}
PAGES = {"the player's page", "without what it loads before the click"}
AGES = {name for age in ("day 1,000", "day 1", "day 1,000, pruned") for name in (age, f"{age}, database")}
SOAKED = {"nouba gateway serve and one worker"}
READERS = {"200, gzip", "304, If-None-Match"}

#: By part: every measure, in order, and who takes part in it.
EXPECTED = {
    "gateway": [
        ("webhooks answered, 16 connections, 1 KiB", GATEWAY),
        ("CPU of a webhook answered and published, of all processes", GATEWAY),
        ("p99 of an answer at 300/s", {"nouba gateway serve"}),
        ("memory of a process", {"nouba gateway serve"}),
    ],
    "payments": [
        ("events settled", WORKERS),
        (
            "CPU of an event settled, of all processes",
            {one for one in WORKERS if "one process" in one or "pgbench" in one},
        ),
        ("events settled, with a core for each worker", PINNED),
        ("events settled", {"all events of one user"}),
        ("p99 from accept to balance at 200/s", {"one worker process"}),
        ("memory of a process", {"payments worker"}),
        (
            "events settled, with more and more of them kept",
            {f"{rows} events kept before" for rows in ("2,000", "8,000", "32,000")},
        ),
    ],
    "queue": [
        ("messages relayed, confirmed", RELAYS),
        ("messages taken, nothing done", {"nouba's worker", "dramatiq as it comes", "celery, threads", "taskiq"}),
    ],
    "events": [
        ("p99 delay of an event at 100/s to 15 of 20 endpoints", {"nouba gateway events-worker, five endpoints fail"}),
        ("p50 delay of an event at 100/s to 15 of 20 endpoints", {"nouba gateway events-worker, five endpoints fail"}),
        ("deliveries after the five have recovered", {"nouba gateway events-worker"}),
        ("memory of a process", {"events worker, at most", "events worker, when it was warm"}),
    ],
    "transcoder": [
        ("CPU, natural 360p, 2 s", LADDERS),
        ("wall time, natural 360p, 2 s", LADDERS),
        ("CPU, slides 360p, 2 s", LADDERS),
        ("wall time, slides 360p, 2 s", LADDERS),
        ("bytes of the picture, slides of text 360p, 6 s", {"ladder auto", "ladder fixed", "bare ffmpeg"}),
        ("VMAF of the largest rendition, slides of text 360p, 6 s", {"ladder auto", "ladder fixed", "bare ffmpeg"}),
        ("CPU, natural 360p, longer and longer", {"1 s of film", "2 s of film", "4 s of film"}),
        ("H.264 upload of 2 s to first picture", {"one worker"}),
        (
            "upload of 2 s to whole lesson",
            {"two workers", "one worker", "one worker, a part for each processor"},
        ),
        ("upload of 2 s to whole lesson, with a core for each worker", PINNED),
        ("memory of a process", {"transcoder worker, beside its ffmpeg"}),
        ("click to first frame in Chromium, localhost", PAGES),
        ("click to first frame in Chromium, 4 Mbit/s and 100 ms", PAGES),
        ("automatic captions, a minute of speech", {f"Whisper base, int8, {min(4, os.cpu_count() or 1)} threads"}),
    ],
    "stats": [
        ("seeding small, to be quick (1,000 users, 10,000 payments, 50,000 check-ins)", {"nouba stats seed"}),
        (
            "one day's increment",
            {
                "nouba, one more day",
                "one sequential scan of the tables",
                "reading the day's rows by their indexes",
            },
        ),
        ("full rebuild of 731 days", {"nouba stats compute"}),
        ("full rebuild, with more and more payments", {"10,000 payments"}),
        ("memory of a process", {"stats worker"}),
        *(
            (f"a page of the rows behind a number of {section}", {"GET /api/stats/<day>/rows"})
            for section in (
                "attendance",
                "content",
                "engagement",
                "lessons",
                "payments",
                "platform",
                "revenue",
                "subscriptions",
                "teachers",
                "users",
                "wallets",
            )
        ),
        ("API p50 at 1,000/s", READERS),
        ("API p99 at 1,000/s", READERS),
    ],
    "day1000": [
        (f"seeding at scale 0.0005 ({describe(0.0005)})", {"bench"}),
        ("size of the database", {"bench"}),
        *(
            (f"erasing {kind} older than {days} days", {"bench"})
            for kind, days in (
                ("webhook_bodies", 400),
                ("dead_letters", 180),
                ("statistics", 400),
                ("lesson_views", 400),
            )
        ),
        ("size of the database after it", {"bench"}),
        *((f"{one.kind}: {one.name}", AGES) for one in everything()),
    ],
    "soak": [
        ("webhooks sent: 2,000", SOAKED),
        ("p99 of an answer, in each of 10 parts", SOAKED),
        ("p99 from accept to balance, in each of 10 parts", SOAKED),
        *(
            (what, {"at the end", "after a tenth"})
            for what in (
                "memory of gateway",
                "memory of worker",
                "memory of rabbitmq",
                "size of the table users",
                "size of the table outbox",
            )
        ),
        ("size of the database, for each event more", {"the last tenth", "the second tenth"}),
    ],
}


#: Those that take minutes; the others run the same harness.
LONG = {"transcoder", "payments", "day1000"}


@pytest.mark.timeout(MAX_SECONDS + 60)
@pytest.mark.parametrize(
    "part",
    [pytest.param(part, marks=pytest.mark.nightly if part in LONG else pytest.mark.slow) for part in EXPECTED],
)
def test_a_part_measures_the_subject_and_all_its_rivals(part: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    # When; its name is short, because Chromium has a socket below it
    folder = tmp_path_factory.mktemp("t")
    found = json.loads(bench(part, "--quick", "--json", "-", folder=folder))

    # Then
    assert [(one["measure"], set(one["samples"])) for one in found["measures"]] == EXPECTED[part]
    assert all(value > 0 for one in found["measures"] for values in one["samples"].values() for value in values)
    assert {"cores", "memory", "kernel", "postgresql", "rabbitmq"} <= set(found["machine"])
    # and nothing of it remains
    assert list(folder.iterdir()) == []


def _place(part: str, text: str = "stale") -> str:
    """A part's place in a page."""
    return f"{BEGIN.format(part=part)}\n{text}\n{END.format(part=part)}"


def test_the_page_gets_the_newest_table_and_keeps_its_words(tmp_path: Path) -> None:
    # Given
    page = tmp_path / "performance.md"
    page.write_text(f"Above.\n\n{_place('queue')}\n\nBelow.\n\n{_place('stats', 'kept')}\n")
    measure = Measure(part="queue", name="relayed", unit="/s", samples={"ours": [4.0, 2.0, 3.0], "theirs": [6.0]})

    # When
    for _ in range(2):
        write_docs(page, [measure], "cores 2")

    # Then
    text = page.read_text()
    assert text.startswith("Above.")
    assert "Below." in text
    assert "stale" not in text
    assert "kept" in text
    assert text.count("| relayed | theirs | 6.00 /s | 6.00 to 6.00 | 0.50 |  |") == 1
    assert text.count("cores 2") == 1
    assert "| ours | 3.00 /s | 2.00 to 4.00 |" in text


def test_the_reads_of_an_old_installation_have_a_table_of_their_own(tmp_path: Path) -> None:
    # Given
    page = tmp_path / "performance.md"
    page.write_text(f"{_place('queue', 'other parts')}\n{_place('day1000')}\n")
    samples = {"day 1,000": [30.0], "day 1": [20.0], "day 1,000, database": [3.0], "day 1, database": [2.0]}

    # When
    measure = Measure(part="day1000", name="console page: /dead", unit="ms", samples=samples, goal="at most 200 ms")
    write_docs(page, [measure], "cores 2")

    # Then
    text = page.read_text()
    assert "other parts" in text
    assert "stale" not in text
    assert "| console page | `/dead` | 20.0 ms | 30.0 ms | 2.0 ms | 3.0 ms | at most 200 ms |" in text


def test_what_was_timed_again_after_retention_has_columns_of_its_own() -> None:
    samples = {"day 1,000": [30.0], "day 1": [20.0], "day 1,000, pruned": [25.0]}
    samples |= {f"{who}, database": [found[0] / 10] for who, found in samples.items()}
    measure = Measure(part="day1000", name="periodic: relay: count", unit="ms", samples=samples, goal="at most 50 ms")
    size = Measure(part="day1000", name="size of the database", unit="MB", samples={"bench": [27_000]}, goal="small")

    lines = day1000.table([size, measure])

    assert lines[0].startswith("| kind | read | day 1 | day 1,000 | day 1,000, pruned | database, day 1 |")
    assert lines[2] == "|  | size of the database |  | 27,000 MB |  |  |  |  | small |"
    assert lines[3] == (
        "| periodic | `relay: count` | 20.0 ms | 30.0 ms | 25.0 ms | 2.0 ms | 3.0 ms | 2.5 ms | at most 50 ms |"
    )


@pytest.mark.parametrize(
    ("kind", "pruned", "words"),
    [
        ("console page", 30.0, "at most 200 ms of p95 and 1.5 times day 1; **over: 20.0 times, 400 ms**"),
        ("periodic", 30.0, "at most 200 ms of database and 1.5 times day 1; **over: 10.0 times**"),
        (
            "console page",
            300.0,
            "at most 200 ms of p95 and 1.5 times day 1; **over: 20.0 times, 400 ms**;"
            " **over when pruned: 15.0 times, 300 ms**",
        ),
    ],
)
def test_a_read_that_is_over_its_budget_says_by_how_much(kind: str, pruned: float, words: str) -> None:
    samples = {"day 1,000": [400.0], "day 1": [20.0], "day 1,000, pruned": [pruned]}
    samples |= {"day 1,000, database": [100.0], "day 1, database": [10.0], "day 1,000, pruned, database": [11.0]}

    assert day1000.judge(Timed(kind, "/dead", lambda _: lambda: None, 200.0), samples) == words


def test_the_plot_has_a_point_for_each_number_of_events_kept(tmp_path: Path) -> None:
    samples = {"1,000 events kept before": [200.0, 100.0, 300.0], "4,000 events kept before": [190.0]}

    measure = Measure(part="payments", name="settled", unit="/s", samples=samples, grows_with="events kept before")
    plot.write(tmp_path / "growth.svg", measure)

    drawn = ElementTree.parse(tmp_path / "growth.svg").getroot()  # noqa: S314
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"1,000", "200", "4,000", "190", "settled (/s)", "events kept before"} <= set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}circle"))) == 2


@pytest.mark.parametrize("part", PARTS)
def test_the_projects_page_has_a_place_for_the_table(part: str) -> None:
    text = (PROJECT / "docs" / "performance.md").read_text()

    assert 0 < text.index(BEGIN.format(part=part)) < text.index(END.format(part=part))


@pytest.mark.parametrize(
    ("load", "options", "reason"),
    [(0.6, [], "The load is 0.6"), (0.1, ["--rounds", "2"], "medians of 3 rounds"), (0.1, ["--quick"], "--quick")],
)
def test_a_page_is_not_written_of_a_busy_machine_or_of_few_rounds(
    load: float, options: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))

    result = CliRunner().invoke(command, ["queue", "--write-docs", *options])

    assert result.exit_code == 2
    assert reason in result.output


def test_what_varies_from_round_to_round_is_named() -> None:
    samples = {"ours": [100.0, 110.0, 151.0], "theirs": [100.0, 110.0, 140.0]}

    found = unsteady([Measure(part="queue", name="relayed", unit="/s", samples=samples, digits=0)])

    assert found == []
    samples["ours"].append(170.0)
    found = unsteady([Measure(part="queue", name="relayed", unit="/s", samples=samples, digits=0)])
    assert found == ["queue, relayed, ours: 100 to 170 /s"]
    # what is of many things has no rounds
    assert unsteady([Measure(part="stats", name="a page", unit="s", samples=samples, is_of_many=True)]) == []


def test_contenders_take_turns_and_every_second_round_is_reversed() -> None:
    turns: list[str] = []

    found = alternate(2, {who: partial(turns.append, who) for who in "ab"}, lambda *_: None)

    assert turns == ["a", "b", "b", "a"]
    assert {who: len(samples) for who, samples in found.items()} == {"a": 2, "b": 2}


def test_the_help_names_every_part() -> None:
    answer = bench("--help")

    assert all(part in answer for part in EXPECTED)


def bench(*arguments: str, folder: Path | None = None) -> str:
    """What `python -m bench` prints on standard output."""
    environment: dict[str, Any] = dict(os.environ) | ({"TMPDIR": str(folder)} if folder else {})
    result = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
