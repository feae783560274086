"""Under load a real Prometheus answers every panel and every rule, finds everybody, and has nothing to complain of."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from deploy.grafana.boards import BOARDS
from deploy.grafana.build import board_json
from deploy.grafana.panels import scoped
from tests.e2e.compose.containers import Containers
from tests.e2e.compose.load import count_yesterday, make_lesson
from tests.e2e.compose.prometheus import Prometheus
from tests.monitoring.queries import alerts, rules, without_variables
from tests.waiting import wait_until

#: Every ten seconds everybody is asked, and a rate needs two answers.
ANSWER_SECONDS = 120
OURS = (
    "gateway",
    "payments-worker",
    "events-worker",
    "transcoder",
    "stats-worker",
    "stats-scheduler",
    "stats-api",
    "console",
    "playback",
)
OTHERS = ("rabbitmq", "rabbitmq-queues", "prometheus")
#: The demonstration pays a wrong amount, and that is reported to a person.
EXPECTED = {"Watchdog", "EventsQuarantined"}


@pytest.fixture(scope="module")
def prometheus(containers: Containers) -> Prometheus:
    """Asked while the school pays, uploads and counts: twice, because what grows shows from the second time on."""
    found = Prometheus(containers.prometheus_url)
    load: list[Callable[[], object]] = [
        containers.play,
        partial(make_lesson, containers),
        partial(count_yesterday, containers),
    ]
    for _ in range(2):
        with ThreadPoolExecutor() as threads:
            for one in [threads.submit(begin) for begin in load]:
                one.result()
    return found


def panel_queries() -> dict[str, str]:
    """Every query of a panel that has something to show while all is well, and every mark of a start."""
    shown = {
        f"{board.title}: {panel.title} {number}": scoped(expression)
        for board in BOARDS
        for panel in board.panels()
        for number, (expression, _) in enumerate(panel.queries)
        if not panel.quiet
    }
    marks = {f"{board.title}: starts": board_json(board)["annotations"]["list"][0]["expr"] for board in BOARDS}
    return {title: without_variables(expression) for title, expression in (shown | marks).items()}


def wait_for_answers(prometheus: Prometheus, queries: dict[str, str]) -> None:
    silent = dict(queries)

    def are_answered() -> bool:
        for title in [title for title, expression in silent.items() if prometheus.has(expression)]:
            del silent[title]
        return not silent

    try:
        wait_until(are_answered, ANSWER_SECONDS)
    except AssertionError:
        pytest.fail("no data for:\n" + "\n".join(f"  {title}: {expression}" for title, expression in silent.items()))


def test_every_container_is_asked_once_and_answers(containers: Containers, prometheus: Prometheus) -> None:
    def found() -> Counter[str]:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        return Counter(one["labels"]["job"] for one in targets if one["health"] == "up")

    def expected() -> Counter[str]:
        running = Counter(one["Service"] for one in containers.states() if one["State"] == "running")
        return Counter({service: running[service] for service in OURS}) + Counter(OTHERS)

    wait_until(lambda: found() == expected(), ANSWER_SECONDS)


def test_every_panel_has_data_under_load(prometheus: Prometheus) -> None:
    wait_for_answers(prometheus, panel_queries())


def test_a_panel_that_is_empty_while_all_is_well_can_be_asked_too(prometheus: Prometheus) -> None:
    for board in BOARDS:
        for panel in board.panels():
            for expression, _ in panel.queries:
                prometheus.get("query", query=without_variables(scoped(expression)))


def test_every_rule_has_data_but_those_that_must_be_empty_while_all_is_well(prometheus: Prometheus) -> None:
    wait_for_answers(prometheus, {rule["record"]: rule["record"] for rule in rules() if "record" in rule})


def test_every_alert_is_evaluated_and_none_fires_without_a_reason(prometheus: Prometheus) -> None:
    groups = prometheus.get("rules")["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"] if rule["type"] == "alerting"}
    assert set(loaded) == {alert["alert"] for alert in alerts()}
    assert {name: rule["lastError"] for name, rule in loaded.items() if rule.get("lastError")} == {}

    # what an earlier test broke on purpose may still be reported for a moment
    wait_until(lambda: "Watchdog" in prometheus.firing() <= EXPECTED, 600, "something fires that should not")


def test_alertmanager_is_sent_what_fires(containers: Containers, prometheus: Prometheus) -> None:
    ask = ("alertmanager", "amtool", "--alertmanager.url=http://127.0.0.1:9093", "alert", "query")
    wait_until(lambda: "Watchdog" in containers.read(*ask), 120, "Alertmanager misses an alert")


def test_grafana_has_read_its_provisioning(containers: Containers) -> None:
    # it does not start where a file cannot be read
    assert httpx.get(f"{containers.grafana_url}/api/health").json()["database"] == "ok"
