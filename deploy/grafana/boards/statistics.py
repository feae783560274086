"""Board of the statistics: the newest day, the computation, the scheduler and the read API."""

from deploy.grafana.panels import Board, Choice, Panel

BOARD = Board(
    uid="nouba-statistics",
    title="Nouba / Statistics",
    description="Freshness, computation, verification and read API.",
    jobs="stats-.+",
    choices=[Choice("route", "Route", 'label_values(nouba_stats_requests_total{job=~"$job"}, route)')],
    rows=[
        (
            "Freshness",
            [
                Panel(
                    "Age",
                    "Time since the newest computed day ended; the objective is 26 hours.",
                    "s",
                    [("max(nouba_stats_age_seconds{SCOPE})", "age")],
                    kind="stat",
                    width=6,
                    limits=(25 * 3600, 26 * 3600),
                ),
                Panel(
                    "Last success",
                    "Time at which the newest day was computed.",
                    "dateTimeFromNow",
                    [("1000 * max(nouba_stats_last_success_timestamp_seconds{SCOPE})", "computed")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Delay",
                    "From the end of the newest day until its newest version was stored.",
                    "s",
                    [("max(nouba_stats_delay_seconds{SCOPE})", "delay")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Fresh",
                    "Whether the objective holds now.",
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
                        "Names and units as in docs/statistics.md; breakdowns are in the API.",
                        unit,
                        [(f"max by (section, name) ({metric}{{SCOPE}})", "")],
                        kind="table",
                        width=12,
                        height=10,
                        # a day on which there is nothing to divide by has none
                        quiet=title in ("Ratios", "Means"),
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
                    "Scheduler heartbeat",
                    "Time since the scheduler's last successful check; it checks every five minutes.",
                    "s",
                    [("time() - max(nouba_stats_scheduler_heartbeat_timestamp_seconds{SCOPE} > 0)", "scheduler")],
                    limits=(360, 660),
                ),
                Panel(
                    "Scheduler checks",
                    "Checks for due days by outcome; a failed check is retried at the next.",
                    "short",
                    [
                        ("sum(increase(nouba_stats_sweeps_total{SCOPE}[$__range]))", "succeeded"),
                        ("sum(increase(nouba_stats_sweep_failures_total{SCOPE}[$__range]))", "failed"),
                    ],
                    kind="stat",
                ),
                Panel(
                    "Due days",
                    "Days that were due at the last check.",
                    "short",
                    [("max(nouba_stats_days_due{SCOPE})", "days")],
                ),
                Panel(
                    "Duration (p95)",
                    "Time of a computation of one or more days.",
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
                    "Computed days",
                    "Computed days, and new versions because a number changed.",
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
            "Verification",
            [
                Panel(
                    "Verification differences",
                    "Numbers that differed from a rebuild in the last verification.",
                    "short",
                    [("max(nouba_stats_verify_differences{SCOPE})", "numbers")],
                    kind="stat",
                    limits=(1, 1),
                ),
                Panel(
                    "Closed days corrected",
                    "Closed days whose facts changed; the open month has the corrections.",
                    "short",
                    [("sum(increase(nouba_stats_closed_days_changed_total{SCOPE}[$__range]))", "days")],
                    kind="stat",
                ),
                Panel(
                    "Last check",
                    "Time of the last nightly verification.",
                    "dateTimeFromNow",
                    [("1000 * max(nouba_stats_verify_timestamp_seconds{SCOPE} > 0)", "compared")],
                    kind="stat",
                    quiet=True,
                ),
                Panel(
                    "Verified days",
                    "Days computed again and compared.",
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
                    "Requests by status; 304 means that the client has the newest version.",
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
                    "Duration (p99)",
                    "Time to answer.",
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
                    "Cache age",
                    "Time since the API last refreshed its cache; -1 if it never did.",
                    "s",
                    [("max(nouba_stats_cache_age_seconds{SCOPE})", "silent")],
                    limits=(60, 120),
                ),
                Panel(
                    "Cache refreshes",
                    "Refreshes by outcome.",
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
                    "Cached days",
                    "Days in each container's cache; it fills after a start.",
                    "short",
                    [("min by (instance) (nouba_stats_cache_days{SCOPE})", "{{instance}}")],
                    width=12,
                ),
            ],
        ),
    ],
)
