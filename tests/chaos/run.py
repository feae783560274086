"""One run: the house is opened, the storm and the traffic go over it, it comes to rest, and everything is compared."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psycopg2

from tests.chaos import lessons, school
from tests.chaos.cluster import QUEUES, TIMEZONE, House
from tests.chaos.comparison import Findings, Rows, compare
from tests.chaos.events import Plan, plan
from tests.chaos.events_out import compare_events_out
from tests.chaos.oracle import expect
from tests.chaos.provider import Answers, Provider
from tests.chaos.receiver import Receiver
from tests.chaos.storm import KILL, OUTAGE, PAUSE, RESTART, Blow, Storm, Struck, blows

#: How long everything may take to come to rest after the last blow and the last answer. A storm keeps workers from
#: their work, so a long one leaves much to do; what an outage leaves has to be done in the first of these two.
REST_SECONDS = 300.0
REST_SECONDS_PER_EVENT = 0.01
#: An event that is refused for ever is sent for ever: a run gives up after so many times its planned duration, and what
#: many events take.
PATIENCE, PATIENCE_SECONDS, PATIENCE_SECONDS_PER_EVENT = 3.0, 300.0, 0.01
#: An event whose message was lost with its broker is due again after a quarter of an hour. Where nothing has moved
#: for so long, that time is let pass at once, and the events that needed it are counted.
_STILL_SECONDS = 12.0
#: The tables and queues are not checked in one instant, and the API shows a new day a second later: so nothing may
#: have waited anywhere for so long.
_SURE_SECONDS = 4.0
_POLL_SECONDS = 0.25
_OUTAGE_BEGINS_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a run is to be. `seconds` is how long the blows are spread over, and the traffic."""

    seed: int = 1
    events: int = 1000
    kills: int = 1
    pauses: int = 1
    restarts: int = 1
    videos: int = 2
    days: int = 5
    seconds: float = 30.0
    #: Whether the school has an endpoint that takes all events.
    endpoint: bool = True
    #: Instead of a storm: the name of a server that is away once, and for how long.
    outage: str = ""
    outage_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Status:
    """How far it is."""

    stage: str
    answered: int = 0
    to_answer: int = 0
    struck: int = 0
    blows: int = 0
    videos: int = 0


Notify = Callable[[Status], None]


@dataclass(slots=True)
class Result:
    """What happened, and what is not as it must be."""

    wish: Wish
    plan: Plan
    answers: Answers
    receiver: Receiver
    struck: dict[str, Struck]
    findings: Findings = field(default_factory=Findings)
    seconds: dict[str, float] = field(default_factory=dict)
    #: events whose message had been lost, and that were settled because their row was still there
    saved_by_their_row: int = 0
    #: deliveries that waited for a retry of minutes
    retries_brought_forward: int = 0
    restless: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """Every difference, in words; none is what a run is for."""
        return [
            *self.restless,
            *self._excuses(),
            *self.answers.wrong,
            *self.receiver.faults,
            *self.findings.sentences(),
        ]

    def _excuses(self) -> list[str]:
        """In an outage of one server the gateways stand, so that they have no reason to say anything but yes."""
        if not self.wish.outage:
            return []
        reported = {status: count for status, count in self.answers.genuine.items() if status != 200}
        return [
            f"{count} genuine requests were answered {status or 'not at all'}" for status, count in reported.items()
        ]


def run(wish: Wish, folder: Path, notify: Notify) -> Result:
    """Do it all. Raises what a thread of it raised; whatever happens, nothing of it keeps running."""
    began = time.monotonic()
    notify(Status("choosing what to send"))
    made = plan(wish.seed, wish.events, datetime.now(ZoneInfo(TIMEZONE)))
    film = lessons.make_film(folder / "film.mp4") if wish.videos else folder
    with (
        school.bank(made) as bank_url,
        Receiver.listening(wish.seed) as receiver,
        _house(folder, bank_url) as house,
    ):
        notify(Status("starting the servers and processes"))
        house.open()
        school.enrol(house.postgres.url, made, wish.days)
        if wish.endpoint:
            receiver.secret = school.add_endpoint(house.postgres.url, receiver.url)
        rows = Rows(house.postgres.url)
        courses = [rows.one("INSERT INTO courses DEFAULT VALUES RETURNING id") for _ in range(wish.videos)]
        return _Run(wish, made, house, receiver, film, courses, notify, began).play()


@contextlib.contextmanager
def _house(folder: Path, bank_url: str) -> Iterator[House]:
    house = House(folder, {"NOUBA_PSP_SATIM_BASE_URL": bank_url})
    try:
        yield house
    finally:
        house.close()


class _Run:
    def __init__(
        self,
        wish: Wish,
        made: Plan,
        house: House,
        receiver: Receiver,
        film: Path,
        courses: list[int],
        notify: Notify,
        began: float,
    ) -> None:
        self._wish, self._plan, self._house, self._notify, self._began = wish, made, house, notify, began
        self._stopping = threading.Event()
        counts = {KILL: wish.kills, PAUSE: wish.pauses, RESTART: wish.restarts}
        schedule = {target.name: blows(wish.seed, target.name, wish.seconds, counts) for target in house.targets}
        if wish.outage:
            schedule[wish.outage] = [Blow(_OUTAGE_BEGINS_SECONDS, OUTAGE, wish.outage_seconds)]
        self._storm = Storm(house.targets, schedule, self._stopping)
        self._provider = Provider(house.gateway_ports, wish.seed, self._stopping)
        self._courses = courses
        self._film = film
        self._rows = Rows(house.postgres.url)
        self._result = Result(wish, made, self._provider.answers, receiver, self._storm.struck)

    def play(self) -> Result:
        opened = time.monotonic()
        self._result.seconds["opening"] = opened - self._began
        rate = len(self._plan.parcels) / self._wish.seconds
        pool = ThreadPoolExecutor(max_workers=len(self._house.targets) + 2)
        try:
            watching = [pool.submit(self._storm.watch, target) for target in self._house.targets]
            working = [pool.submit(self._provider.notify, self._plan.parcels, rate)]
            teacher = None
            if self._courses:
                teacher = lessons.Teacher(self._house, self._film, self._courses, self._stopping)
                working.append(pool.submit(teacher.teach, self._wish.seconds * 0.8))
            while not (self._storm.is_over and all(one.done() for one in working)):
                self._lose_patience(opened)
                self._pass(watching + working, "storm", teacher)
            rested = time.monotonic()
            self._result.seconds["storm"] = rested - opened
            self._wait_for_rest(watching)
            self._result.seconds["coming to rest"] = time.monotonic() - rested
            self._result.seconds["from the last return to rest"] = time.monotonic() - self._storm.back_at
            self._notify(self._status("comparing", teacher))
            self._compare()
            self._storm.end()
            self._check_for_faults(watching, patient=True)
        finally:
            self._stopping.set()
            pool.shutdown(wait=True)
        self._result.seconds["all"] = time.monotonic() - self._began
        return self._result

    def _lose_patience(self, opened: float) -> None:
        longest = PATIENCE * self._wish.seconds + PATIENCE_SECONDS + PATIENCE_SECONDS_PER_EVENT * self._wish.events
        if time.monotonic() - opened > longest:
            answers = self._provider.answers
            raise TimeoutError(
                f"The storm had no end within {longest:.0f} s: {self._storm.done} of {self._storm.total} blows struck, "
                f"{answers.done} of {len(self._plan.parcels)} requests answered for good: {dict(answers.statuses)}."
            )

    def _pass(self, futures: "list[Future[None]]", stage: str, teacher: lessons.Teacher | None = None) -> None:
        self._notify(self._status(stage, teacher))
        self._check_for_faults(futures)
        time.sleep(_POLL_SECONDS)

    def _check_for_faults(self, futures: "list[Future[None]]", *, patient: bool = False) -> None:
        for one in futures:
            if patient or one.done():
                one.result()

    def _status(self, stage: str, teacher: lessons.Teacher | None = None) -> Status:
        return Status(
            stage,
            self._provider.answers.done,
            len(self._plan.parcels),
            self._storm.done,
            self._storm.total,
            teacher.uploaded if teacher else 0,
        )

    def _compare(self) -> None:
        zone = ZoneInfo(TIMEZONE)
        expected, days = expect(self._plan, zone), self._days()
        self._result.findings = compare(self._house, expected, self._courses, days)
        received = self._result.receiver.events if self._wish.endpoint else None
        out = compare_events_out(self._rows, self._plan, expected, received, self._courses, days)
        for kind, differences in out.differences.items():
            self._result.findings.note(kind, differences, out.compared[kind])

    def _days(self) -> list[date]:
        """The school's days that were over when the run began."""
        today = self._plan.today.astimezone(ZoneInfo(TIMEZONE)).date()
        return [today - timedelta(days=ago) for ago in range(self._wish.days, 0, -1)]

    def _wait_for_rest(self, watching: "list[Future[None]]") -> None:
        """Until nothing waits anywhere; or report what still does when the time is over."""
        began, moved_at, before = time.monotonic(), time.monotonic(), dict[str, int]()
        longest = REST_SECONDS if self._wish.outage else REST_SECONDS + self._wish.events * REST_SECONDS_PER_EVENT
        while time.monotonic() < began + longest:
            self._pass(watching, "coming to rest")
            try:
                waiting = self._waiting()
            except (psycopg2.OperationalError, httpx.HTTPError):
                continue  # a server that has been started again is not quite there yet
            if waiting != before:
                moved_at, before = time.monotonic(), waiting
            elif not any(waiting.values()) and time.monotonic() - moved_at > _SURE_SECONDS:
                return
            elif time.monotonic() - moved_at > _STILL_SECONDS:
                self._let_time_pass()
                moved_at = time.monotonic()
        self._result.restless = [f"not at rest: {count} {what}" for what, count in before.items() if count]

    def _waiting(self) -> dict[str, int]:
        one = self._rows.one
        names = [name for queue in QUEUES for name in (queue, f"{queue}.DQ")]
        depths = _depths(self._house)
        return {
            "events not kept yet": max(0, len(self._plan.genuine) - one("SELECT count(*) FROM webhook_events")),
            "events not settled": one("SELECT count(*) FROM webhook_events WHERE state = 'received'"),
            "messages in the outbox": one("SELECT count(*) FROM outbox"),
            "videos not made": one("SELECT count(*) FROM courses WHERE transcoding_status IS DISTINCT FROM 'completed'")
            + one("SELECT count(*) FROM transcode_jobs WHERE finished_at IS NULL"),
            "days not computed": self._wish.days
            - one("SELECT count(version) FROM daily_stats_newest WHERE NOT failed")
            # what changed today is due at midnight
            + one("SELECT count(*) FROM changed_days WHERE day <= %s", self._days()[-1]),
            "events out not delivered": one("SELECT count(*) FROM events WHERE fanned_out_at IS NULL")
            + one("SELECT count(*) FROM webhook_deliveries WHERE state <> 'delivered'"),
            "messages in queues": sum(depths.get(name, 0) for name in names),
        }

    def _let_time_pass(self) -> None:
        released = self._rows.do(
            "UPDATE webhook_events SET next_attempt_at = now() WHERE state = 'received' AND next_attempt_at > now()"
        )
        self._result.saved_by_their_row += released
        self._rows.do("UPDATE webhook_endpoints SET held_until_at = NULL WHERE held_until_at > now()")
        self._result.retries_brought_forward += self._rows.do(
            "UPDATE webhook_deliveries SET due_at = now() WHERE state = 'pending' AND due_at > now()"
        )


def _depths(house: House) -> dict[str, int]:
    query: dict[str, Any] = {"disable_stats": "true", "enable_queue_totals": "true"}
    answer = httpx.get(f"{house.rabbitmq.management_url}/api/queues/%2F", params=query, timeout=10).raise_for_status()
    return {queue["name"]: int(queue.get("messages", 0)) for queue in answer.json()}
