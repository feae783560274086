"""Board of service-level objectives with their error budgets, alerts, and one row for each part."""

from deploy.grafana.panels import Alerts, Board, Panel

BOARD = Board(
    uid="nouba-overview",
    title="Nouba / Overview",
    description="Objectives, alerts and one row for each part.",
    jobs=".+",
    rows=[
        (
            "Service-level objectives",
            [
                Panel(
                    "Error budget left",
                    "What is left of the error budget of 30 days; at 0 % the objective is missed.",
                    "percentunit",
                    [("slo:error_budget_left:ratio", "{{slo}}")],
                    kind="stat",
                    limits=(0.1, 0.5),
                    rising=True,
                ),
                Panel(
                    "Objectives over 30 days",
                    "Share of webhooks answered, of events started within 10 s, of time with fresh statistics.",
                    "percentunit",
                    [("1 - slo:errors:ratio_rate30d", "{{slo}}")],
                    kind="stat",
                ),
                Panel(
                    "Burn rate (1h)",
                    "How fast the error budget is used: at 1 it lasts 30 days, at 14.4 two.",
                    "short",
                    [("slo:errors:ratio_rate1h / on (slo) (1 - slo:objective:ratio)", "{{slo}}")],
                    limits=(6, 14.4),
                ),
            ],
        ),
        (
            "Alerts and targets",
            [
                Alerts("Alerts", "Firing and pending alerts; each has a runbook."),
                Panel(
                    "Firing",
                    "The same from Prometheus. Watchdog always fires: it proves that rules are evaluated.",
                    "short",
                    [('sum by (alertname, severity) (ALERTS{alertstate="firing"})', "{{alertname}} ({{severity}})")],
                    kind="bargauge",
                ),
                Panel(
                    "Targets up",
                    "Containers of each service that Prometheus scrapes.",
                    "short",
                    [("sum by (job) (up{SCOPE})", "{{job}}")],
                    kind="bargauge",
                ),
            ],
        ),
        (
            "Throughput",
            [
                Panel(
                    "Webhooks",
                    "Webhooks by verdict.",
                    "reqps",
                    [("sum by (verdict) (rate(nouba_gateway_requests_total{SCOPE}[$__rate_interval]))", "{{verdict}}")],
                    stacked=True,
                ),
                Panel(
                    "Jobs",
                    "Processed messages by queue and outcome.",
                    "ops",
                    [
                        (
                            "sum by (queue, outcome) (rate(nouba_messages_total{SCOPE}[$__rate_interval]))",
                            "{{queue}} {{outcome}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Ready messages",
                    "Ready messages by queue, without delayed and dead ones.",
                    "short",
                    [("queue:rabbitmq_messages_ready:sum", "{{queue}}")],
                ),
                Panel(
                    "Time to clear",
                    "Ready messages times their mean duration, divided by the threads.",
                    "s",
                    [("queue:nouba_time_to_clear:seconds", "{{queue}}")],
                ),
                Panel(
                    "Oldest outbox message",
                    "Age of the oldest message in each outbox.",
                    "s",
                    [("max by (service) (nouba_outbox_oldest_age_seconds{SCOPE})", "{{service}}")],
                    limits=(15, 45),
                ),
                Panel(
                    "Ledger drift",
                    "Centimes by which balances and ledger differ; 0 is correct.",
                    "short",
                    [("max(abs(nouba_ledger_drift_minor{SCOPE}))", "centimes")],
                    kind="stat",
                    limits=(1, 1),
                ),
                Panel(
                    "Transcoding jobs",
                    "Uploads that are not transcoded yet.",
                    "short",
                    [("max(nouba_transcoder_open_jobs{SCOPE})", "lessons")],
                    kind="stat",
                ),
                Panel(
                    "Statistics age",
                    "Time since the newest computed day ended.",
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
                    "Process starts",
                    "Start of each service's newest container.",
                    "dateTimeFromNow",
                    [("1000 * job:nouba_start_timestamp_seconds:max", "{{job}}")],
                    kind="stat",
                    width=12,
                ),
            ],
        ),
    ],
)
