"""Is all well? The promises and what is left of their budgets, what fires, and one line of each part."""

from deploy.grafana.panels import Alerts, Board, Panel

BOARD = Board(
    uid="nouba-overview",
    title="Nouba / Overview",
    description="Is all well? Open the dashboard of the part that is not.",
    jobs=".+",
    rows=[
        (
            "Promises",
            [
                Panel(
                    "Error budget left",
                    "What is left of the last 30 days' budget: 100 % nothing went wrong, 0 % the promise is broken.",
                    "percentunit",
                    [("slo:error_budget_left:ratio", "{{slo}}")],
                    kind="stat",
                    limits=(0.1, 0.5),
                    rising=True,
                ),
                Panel(
                    "Kept over 30 days",
                    "Share of webhooks answered, of events taken up within 10 s, of time with fresh statistics.",
                    "percentunit",
                    [("1 - slo:errors:ratio_rate30d", "{{slo}}")],
                    kind="stat",
                ),
                Panel(
                    "Burn rate, one hour",
                    "How many times too fast the budget is used: at 1 it lasts 30 days, at 14.4 two.",
                    "short",
                    [("slo:errors:ratio_rate1h / on (slo) (1 - slo:objective:ratio)", "{{slo}}")],
                    limits=(6, 14.4),
                ),
            ],
        ),
        (
            "Now",
            [
                Alerts("Alerts", "What fires or is about to; each alert has a page in docs/runbooks."),
                Panel(
                    "Firing",
                    "The same from Prometheus itself. Watchdog always fires: it proves that rules are evaluated.",
                    "short",
                    [('sum by (alertname, severity) (ALERTS{alertstate="firing"})', "{{alertname}} ({{severity}})")],
                    kind="bargauge",
                ),
                Panel(
                    "Containers that answer",
                    "Containers of each service that Prometheus reaches.",
                    "short",
                    [("sum by (job) (up{SCOPE})", "{{job}}")],
                    kind="bargauge",
                ),
            ],
        ),
        (
            "The work",
            [
                Panel(
                    "Webhooks",
                    "Webhooks by verdict; accepted and duplicate are good.",
                    "reqps",
                    [("sum by (verdict) (rate(nouba_gateway_requests_total{SCOPE}[$__rate_interval]))", "{{verdict}}")],
                    stacked=True,
                ),
                Panel(
                    "Jobs",
                    "Jobs that ended, by queue and by what became of them.",
                    "ops",
                    [
                        (
                            "sum by (queue, outcome) (rate(nouba_jobs_total{SCOPE}[$__rate_interval]))",
                            "{{queue}} {{outcome}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Messages that wait",
                    "Ready messages of each queue, without delayed and dead ones.",
                    "short",
                    [("queue:rabbitmq_messages_ready:sum", "{{queue}}")],
                ),
                Panel(
                    "Time to clear",
                    "What waits, times the mean duration of a job, shared by the threads that work on it.",
                    "s",
                    [("queue:nouba_time_to_clear:seconds", "{{queue}}")],
                ),
                Panel(
                    "Oldest promise",
                    "Age of the oldest message in each outbox: how long RabbitMQ has been out of reach.",
                    "s",
                    [("max by (service) (nouba_relay_backlog_age_seconds{SCOPE})", "{{service}}")],
                    limits=(15, 45),
                ),
                Panel(
                    "Ledger drift",
                    "Centimes by which balances and ledger differ; anything but 0 is a fault.",
                    "short",
                    [("max(abs(nouba_ledger_drift_minor{SCOPE}))", "centimes")],
                    kind="stat",
                    limits=(1, 1),
                ),
                Panel(
                    "Lessons in the making",
                    "Lessons that were uploaded and are not ready.",
                    "short",
                    [("max(nouba_transcoder_open_jobs{SCOPE})", "lessons")],
                    kind="stat",
                ),
                Panel(
                    "Age of the statistics",
                    "Time since the newest counted day ended; at most a day and the minutes of the night's run.",
                    "s",
                    [("time() - max(nouba_stats_newest_day_end_timestamp_seconds{SCOPE} > 0)", "newest day")],
                    kind="stat",
                    limits=(25 * 3600, 26 * 3600),
                ),
                Panel(
                    "Dead letters",
                    "Messages that failed for good and wait for somebody.",
                    "short",
                    [('sum(max by (queue) (nouba_dead_letters{SCOPE, state="dead"})) or vector(0)', "dead")],
                    kind="stat",
                    limits=(1, 1),
                ),
                Panel(
                    "Versions",
                    "What runs where.",
                    "short",
                    [("count by (job, version, python) (nouba_build_info{SCOPE})", "")],
                    kind="table",
                    width=12,
                ),
                Panel(
                    "Starts",
                    "When each service's newest container started.",
                    "dateTimeFromNow",
                    [("1000 * job:nouba_start_timestamp_seconds:max", "{{job}}")],
                    kind="stat",
                    width=12,
                ),
            ],
        ),
    ],
)
