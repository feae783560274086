"""What players report is added up by viewer, lesson and day of the school, and written in rows that can be counted."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from local.postgres import Postgres
from local.s3 import S3
from services.console.playback_links import PlaybackLinks
from services.playback.views import PostgresViews, TooFastError, View, ViewRecorder
from services.playback.watch_report_parser import MAX_BODY_BYTES, InvalidReportError, Report, parse_report
from shared.runtime.database import build_engine
from tests.playback.lessons import MASTER, lessons
from tests.playback.processes import SECRET, RunningPlayback, signed
from tests.waiting import wait_until
from tests.webhook_gateway.processes import Database

ZONE = ZoneInfo("Africa/Algiers")
ROWS = "SELECT viewer, course_id, user_id, chapter_id, played_ms, bit_count(parts) FROM lesson_views ORDER BY 1, 2, day"

#: Over all days, because a test may run over midnight.
IN_ALL = "SELECT viewer, course_id, sum(played_ms), bit_count(bit_or(parts)) FROM lesson_views GROUP BY 1, 2"


def body(*played: Sequence[float], duration: float = 1000) -> bytes:
    return json.dumps({"duration": duration, "played": played}).encode()


# -- what a report says


def test_a_part_counts_once_its_middle_was_played() -> None:
    # Given a lesson of 1,000 seconds, in parts of ten
    assert parse_report(body([0, 5])) == Report(5_000, 0)
    assert parse_report(body([0, 5.001])) == Report(5_001, 1 << 99)
    assert parse_report(body([990, 1000])).parts == 1
    # reports that follow each other are the same as one over both
    first, second = parse_report(body([100, 204])), parse_report(body([204, 300]))
    assert first.parts | second.parts == parse_report(body([100, 300])).parts
    assert first.parts & second.parts == 0
    # the whole lesson is all of them, and many short ranges are none
    assert parse_report(body([0, 500])).parts | parse_report(body([500, 1000])).parts == (1 << 100) - 1
    assert parse_report(body(*([begin, begin + 1] for begin in range(0, 990, 10)))).parts == 0


def test_what_was_played_twice_counts_twice_in_time_and_once_in_parts() -> None:
    assert parse_report(body([0, 100], [0, 100])) == Report(200_000, parse_report(body([0, 100])).parts)


NO_REPORTS = [
    b"",
    b"played",
    b"[]",
    b"{}",
    b'{"duration": 0, "played": []}',
    b'{"duration": NaN, "played": []}',
    b'{"duration": 100, "played": [[0, Infinity]]}',
    b'{"duration": 100, "played": [[-1, 5]]}',
    b'{"duration": 100, "played": [[5, 1]]}',
    b'{"duration": 100, "played": [[1]]}',
    b'{"duration": 100, "played": [[true, 5]]}',
    b'{"duration": 100, "played": 7}',
    b'{"duration": 1e9, "played": []}',
    b"[" * 8000,
    body([0, 601]),
    body(*([[0, 1]] * 101)),
]


@pytest.mark.parametrize("wrong", NO_REPORTS, ids=range(len(NO_REPORTS)))
def test_what_is_no_report_is_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidReportError, match=r'send \{"duration"'):
        parse_report(wrong)


# -- adding up


@dataclass
class Kept:
    """Implements `Views` in memory."""

    views: list[View] = field(default_factory=list)
    is_away: bool = False

    def add(self, views: Sequence[View]) -> None:
        if self.is_away:
            raise ConnectionError
        self.views += views


@dataclass
class Clock:
    now: datetime = datetime(2026, 3, 5, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_reports_of_a_viewer_lesson_and_day_become_one_row() -> None:
    kept, clock = Kept(), Clock(datetime(2026, 3, 5, 22, 59, 50, tzinfo=UTC))
    recorder = ViewRecorder(kept, ZONE, clock)
    recorder.record("17", 7, Report(1_000, 0b01))
    recorder.record("17", 7, Report(2_000, 0b10))
    recorder.record("17", 8, Report(3_000, 0b01))
    recorder.record("18", 7, Report(4_000, 0b01))
    # midnight of Algiers, which is an hour before that of UTC
    clock.now += timedelta(seconds=10)
    recorder.record("17", 7, Report(5_000, 0b01))
    assert not kept.views

    assert recorder.flush(), "the next day is left"
    assert not recorder.flush()
    assert kept.views == [
        View("17", 7, date(2026, 3, 5), 3_000, 0b11),
        View("17", 8, date(2026, 3, 5), 3_000, 0b01),
        View("18", 7, date(2026, 3, 5), 4_000, 0b01),
        View("17", 7, date(2026, 3, 6), 5_000, 0b01),
    ]
    recorder.flush()
    assert len(kept.views) == 4, "written twice"


def test_reports_wait_while_the_database_is_away() -> None:
    kept = Kept(is_away=True)
    recorder = ViewRecorder(kept, ZONE, Clock())
    recorder.record("17", 7, Report(1_000, 0b01))
    with pytest.raises(ConnectionError):
        recorder.flush()
    recorder.record("17", 7, Report(2_000, 0b10))
    kept.is_away = False
    recorder.flush()
    assert kept.views == [View("17", 7, date(2026, 3, 5), 3_000, 0b11)]


def test_no_viewer_reports_more_than_can_have_been_played() -> None:
    kept, clock = Kept(), Clock()
    recorder = ViewRecorder(kept, ZONE, clock)
    recorder.record("17", 7, Report(600_000, 1))
    with pytest.raises(TooFastError):
        recorder.record("17", 8, Report(1_000, 1))
    recorder.record("18", 7, Report(600_000, 1))
    # four seconds for each that passes: two devices at double speed
    clock.now += timedelta(seconds=15)
    recorder.record("17", 8, Report(60_000, 1))
    with pytest.raises(TooFastError):
        recorder.record("17", 8, Report(1_000, 1))
    recorder.flush()
    assert sum(view.played_ms for view in kept.views if view.viewer == "17") == 660_000


# -- in PostgreSQL


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url)


def test_a_day_goes_on_from_what_was_played_before(database: Database) -> None:
    database.execute("INSERT INTO chapters (id) VALUES (3), (4)")
    database.execute("INSERT INTO courses (id, chapter_id) VALUES (7, 3)")
    first, second = date(2026, 3, 5), date(2026, 3, 8)
    engine = build_engine(database.url, autocommit=True)
    try:
        views = PostgresViews(engine)
        views.add([View("17", 7, first, 60_000, 0b0111), View("guest", 7, first, 1, 0b1000)])
        database.execute("UPDATE courses SET chapter_id = 4")
        views.add([View("17", 7, first, 50_000_000, 0b1000)])
        views.add([View("17", 7, second, 1_000, 0b10000)])
        views.add([View("17", 7, first, 50_000_000, 0)])
    finally:
        engine.dispose()
    assert database.rows(ROWS) == [
        ("17", 7, 17, 3, 86_400_000, 4),
        ("17", 7, 17, 4, 1_000, 5),
        ("guest", 7, None, 3, 1, 1),
    ]


# -- over HTTP


@pytest.fixture
def playback(migrated_server: Postgres, s3_server: S3, tmp_path: Path) -> Iterator[tuple[RunningPlayback, Database]]:
    with (
        lessons(migrated_server, s3_server) as database_url,
        RunningPlayback(tmp_path / "log", database_url, s3_server) as playback,
    ):
        yield playback, Database(database_url)
        assert "Traceback" not in playback.log
        assert "/play/" not in playback.log, "a path is a permission, and names a viewer"


def test_a_player_reports_for_the_viewer_of_its_address_and_for_no_other(
    playback: tuple[RunningPlayback, Database],
) -> None:
    service, database = playback
    base = service.url + signed(MASTER, viewer="17").removesuffix("master.m3u8")
    grant = base.split("/")[4]
    expires, _, bound, signature = grant.split(".")

    # What cannot be a report of this viewer is refused, and leaves nothing
    refused = {
        base.replace("/7/", "/8/"): 403,
        base.replace(grant, f"{expires}.MTg.{bound}.{signature}"): 403,
        service.url + signed(MASTER, seconds=-1).removesuffix("master.m3u8"): 403,
    }
    for address, status in refused.items():
        assert httpx.post(f"{address}watched.json", content=body([0, 100])).status_code == status
    assert httpx.post(f"{base}master.m3u8", content=body([0, 100])).status_code == 405
    assert httpx.post(f"{base}watched.json", content=b"{}").status_code == 400
    assert httpx.post(f"{base}watched.json", content=b" " * (MAX_BODY_BYTES + 1)).status_code == 400
    assert httpx.get(f"{base}watched.json").status_code == 404

    # When players report, of the lesson and of its preview
    for address in (f"{base}watched.json", f"{base}first/watched.json"):
        answer = httpx.post(address, content=body([0, 300]), headers={"Origin": "https://school.example"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
    # what may be reported at once is spent, and comes back in 150 seconds
    assert httpx.post(f"{base}watched.json", content=body([0, 600])).status_code == 429

    # Then one row has it within seconds, without the parts of the preview
    wait_until(lambda: database.rows(IN_ALL) == [("17", 7, 600_000, 30)], 30, "no view is written")
    wait_until(lambda: service.metric('nouba_playback_requests_total{outcome="report"}') == 2, 15, "not counted")


def test_a_service_that_ends_writes_what_it_has(playback: tuple[RunningPlayback, Database]) -> None:
    service, database = playback
    address = service.url + signed(MASTER, viewer="17").replace("master.m3u8", "watched.json")
    assert httpx.post(address, content=body([0, 100])).status_code == 204
    service.process.terminate()
    service.process.wait(30)
    assert database.rows(IN_ALL) == [("17", 7, 100_000, 10)]


def test_what_is_reported_with_an_address_of_the_consoles_is_nobodys(
    playback: tuple[RunningPlayback, Database],
) -> None:
    # Given the address that a lesson's page shows to everybody who has entered, and a student's
    service, database = playback
    console = PlaybackLinks(service.url, [SECRET]).address(MASTER, "Amina")
    assert console is not None
    student = service.url + signed(MASTER, viewer="console")

    # When both are reported for
    for address in (console, student):
        report = httpx.post(address.replace("master.m3u8", "watched.json"), content=body([0, 100]))
        assert report.status_code == 204

    # Then the statistics have the student's alone
    service.process.terminate()
    service.process.wait(30)
    assert database.rows(IN_ALL) == [("console", 7, 100_000, 10)]
