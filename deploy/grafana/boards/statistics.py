"""Are the numbers there in the morning? The newest day, the computation, the scheduler and the read API."""

from deploy.grafana.panels import Board, Choice, Panel

BOARD = Board(
    uid="nouba-statistics",
    title="Nouba / Statistics",
    description="Are the numbers there in the morning? The newest day, the computation, the scheduler, the read API.",
    jobs="stats-.+",
    choices=[Choice("route", "Route", 'label_values(nouba_stats_requests_total{job=~"$job"}, route)')],
    rows=[
        (
            "The newest day",
            [
                Panel(
                    "Age",
                    "Time since the newest counted day ended; two hours after midnight it has to be below 26 hours.",
                    "s",
                    [("max(nouba_stats_age_seconds{SCOPE})", "age")],
                    kind="stat",
                    width=6,
                    limits=(25 * 3600, 26 * 3600),
                ),
                Panel(
                    "Last success",
                    "When the newest day was computed.",
                    "dateTimeFromNow",
                    [("1000 * max(nouba_stats_last_success_timestamp_seconds{SCOPE})", "computed")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Delay",
                    "From the end of the newest day until its newest version was kept.",
                    "s",
                    [("max(nouba_stats_delay_seconds{SCOPE})", "delay")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Fresh",
                    "Whether the promise holds at this moment.",
                    "short",
                    [("slo:nouba_stats_fresh:bool", "statistics")],
                    kind="stat",
                    width=6,
                    words={"0": "stale", "1": "fresh"},
                ),
            ],
        ),
        (
            "The school",
            [
                *(
                    Panel(
                        f"{title} of the newest day",
                        "Under the names of docs/statistics.md; breakdowns are told by the API.",
                        unit,
                        [(f"max by (section, name) ({metric}{{SCOPE}})", "")],
                        kind="table",
                        width=12,
                        height=10,
                    )
                    for title, metric, unit in (
                        ("Amounts (minor units)", "nouba_stats_amount_minor_units", "short"),
                        ("Counts", "nouba_stats_quantity", "short"),
                        ("Ratios", "nouba_stats_ratio", "percentunit"),
                        ("Means", "nouba_stats_mean", "short"),
                        ("Durations", "nouba_stats_duration_seconds", "s"),
                        ("Sizes", "nouba_stats_size_bytes", "bytes"),
                    )
                ),
            ],
        ),
        (
            "Computation",
            [
                Panel(
                    "Heartbeat",
                    "Time since the scheduler looked for due days with success; it looks every five minutes.",
                    "s",
                    [("time() - max(nouba_stats_scheduler_heartbeat_timestamp_seconds{SCOPE} > 0)", "scheduler")],
                    limits=(360, 660),
                ),
                Panel(
                    "Looks for due days",
                    "By the scheduler; failed ones are tried again at the next fire.",
                    "short",
                    [
                        ("sum(increase(nouba_stats_sweeps_total{SCOPE}[$__range]))", "succeeded"),
                        ("sum(increase(nouba_stats_sweep_failures_total{SCOPE}[$__range]))", "failed"),
                    ],
                    kind="stat",
                ),
                Panel(
                    "Due",
                    "Days that were due at the last look.",
                    "short",
                    [("max(nouba_stats_days_due{SCOPE})", "days")],
                ),
                Panel(
                    "Duration, 95 of 100",
                    "Time that a computation of one or more days took.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.95, sum by (le) "
                            "(rate(nouba_stats_compute_seconds_bucket{SCOPE}[$__rate_interval])))",
                            "compute",
                        )
                    ],
                ),
                Panel(
                    "Computed",
                    "Days that were computed, and versions that were kept because a number had changed.",
                    "short",
                    [
                        ("sum(increase(nouba_stats_days_computed_total{SCOPE}[$__rate_interval]))", "days"),
                        ("sum(increase(nouba_stats_versions_total{SCOPE}[$__rate_interval]))", "versions"),
                    ],
                ),
                Panel(
                    "Failed sections",
                    "Sections that could not be computed.",
                    "short",
                    [
                        (
                            "sum by (section) (increase(nouba_stats_sections_failed_total{SCOPE}[$__range]))",
                            "{{section}}",
                        )
                    ],
                    kind="bargauge",
                    quiet=True,
                ),
            ],
        ),
        (
            "Proof",
            [
                Panel(
                    "Differences",
                    "Numbers of kept days that were not what the facts say when they were compared last.",
                    "short",
                    [("max(nouba_stats_verify_differences{SCOPE})", "numbers")],
                    kind="stat",
                    limits=(1, 1),
                ),
                Panel(
                    "Last proof",
                    "When kept days were last compared with a rebuild from the facts.",
                    "dateTimeFromNow",
                    [("1000 * max(nouba_stats_verify_timestamp_seconds{SCOPE} > 0)", "compared")],
                    kind="stat",
                    quiet=True,
                ),
                Panel(
                    "Proven",
                    "Days that were compared with a rebuild.",
                    "short",
                    [("sum(increase(nouba_stats_verified_days_total{SCOPE}[$__range]))", "days")],
                    kind="stat",
                ),
            ],
        ),
        (
            "Read API",
            [
                Panel(
                    "Requests",
                    "By status; 304 is a reader who has the newest version.",
                    "reqps",
                    [
                        (
                            "sum by (status) "
                            '(rate(nouba_stats_requests_total{SCOPE, route=~"$route"}[$__rate_interval]))',
                            "{{status}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Duration, 99 of 100",
                    "Time to make an answer.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.99, sum by (route, le) "
                            '(rate(nouba_stats_request_seconds_bucket{SCOPE, route=~"$route"}[$__rate_interval])))',
                            "{{route}}",
                        )
                    ],
                ),
                Panel(
                    "Database last heard",
                    "Time since the API last heard which versions are the newest; -1 where it never did.",
                    "s",
                    [("max(nouba_stats_cache_silent_seconds{SCOPE})", "silent")],
                    limits=(60, 120),
                ),
                Panel(
                    "Looks for newer versions",
                    "By what they found.",
                    "ops",
                    [
                        (
                            "sum by (outcome) (rate(nouba_stats_cache_refreshes_total{SCOPE}[$__rate_interval]))",
                            "{{outcome}}",
                        )
                    ],
                    width=12,
                ),
                Panel(
                    "Days in memory",
                    "What each container answers from; fewer than there are means that it is filling up.",
                    "short",
                    [("min by (instance) (nouba_stats_cache_days{SCOPE})", "{{instance}}")],
                    width=12,
                ),
            ],
        ),
    ],
)
