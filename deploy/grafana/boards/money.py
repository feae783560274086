"""Are the books right? Events that became money, the ledger's proof, and payments that are asked about."""

from deploy.grafana.panels import Board, Panel

BOARD = Board(
    uid="nouba-money",
    title="Nouba / Money",
    description="Are the books right? Events that became money, the ledger's proof, and payments that are asked about.",
    jobs="gateway|payments-worker",
    rows=[
        (
            "The books",
            [
                Panel(
                    "Ledger drift",
                    "Centimes by which balances and ledger differ; anything but 0 is a fault.",
                    "short",
                    [("max(abs(nouba_ledger_drift_minor{SCOPE}))", "centimes")],
                    kind="stat",
                    width=6,
                    limits=(1, 1),
                ),
                Panel(
                    "Violations",
                    "Rows that cannot be, by the rule that they break.",
                    "short",
                    [("max by (invariant) (nouba_invariant_violations{SCOPE})", "{{invariant}}")],
                    kind="bargauge",
                    width=6,
                    limits=(1, 1),
                ),
                Panel(
                    "Last proof",
                    "When all of it was checked last.",
                    "dateTimeFromNow",
                    [("1000 * max(nouba_invariant_last_check_timestamp_seconds{SCOPE})", "checked")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Sealed",
                    "Rows of inbox and ledger that the chain of seals binds: whoever changes one is found out.",
                    "short",
                    [("max(nouba_seals{SCOPE})", "rows")],
                    kind="stat",
                    width=6,
                ),
            ],
        ),
        (
            "From event to money",
            [
                Panel(
                    "Settled",
                    "Events by what became of them.",
                    "ops",
                    [("sum by (state) (rate(nouba_settlement_events_total{SCOPE}[$__rate_interval]))", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Not settled",
                    "Events that are kept and wait to be booked.",
                    "short",
                    [("max(nouba_events_unsettled{SCOPE})", "events")],
                ),
                Panel(
                    "Oldest of them",
                    "How long somebody has paid and does not see it.",
                    "s",
                    [("max(nouba_events_unsettled_oldest_age_seconds{SCOPE})", "oldest")],
                    limits=(60, 300),
                ),
                Panel(
                    "For a person to look at",
                    "Events that were quarantined or died: no money moved for them.",
                    "short",
                    [
                        (
                            "sum by (state) (increase(nouba_settlement_events_total"
                            '{SCOPE, state=~"quarantined|dead"}[$__range]))',
                            "{{state}}",
                        )
                    ],
                    kind="bargauge",
                    quiet=True,
                ),
                Panel(
                    "Taken up within 10 s",
                    "Share of the events; 99 % is the promise.",
                    "percentunit",
                    [
                        (
                            "sum(rate(nouba_job_wait_seconds_bucket"
                            '{SCOPE, queue="webhooks", le="10.0"}[$__rate_interval])) / '
                            '(sum(rate(nouba_job_wait_seconds_count{SCOPE, queue="webhooks"}[$__rate_interval])) > 0)',
                            "in time",
                        )
                    ],
                ),
                Panel(
                    "Duration of a settlement",
                    "95 of 100 took less.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.95, sum by (le) "
                            '(rate(nouba_job_seconds_bucket{SCOPE, queue="webhooks"}[$__rate_interval])))',
                            "settle",
                        )
                    ],
                ),
            ],
        ),
        (
            "Payments of which nothing was heard",
            [
                Panel(
                    "Due to be asked",
                    "Unfinished payments whose provider should have been asked by now.",
                    "short",
                    [("max by (provider) (nouba_reconciliation_due{SCOPE})", "{{provider}}")],
                    width=6,
                    quiet=True,
                ),
                Panel(
                    "Questions",
                    "What providers answered.",
                    "ops",
                    [
                        (
                            "sum by (provider, outcome) "
                            "(rate(nouba_reconciliation_asks_total{SCOPE}[$__rate_interval]))",
                            "{{provider}} {{outcome}}",
                        )
                    ],
                    width=6,
                    quiet=True,
                ),
                Panel(
                    "Found by asking",
                    "Payments that no webhook told of.",
                    "short",
                    [
                        (
                            "sum by (provider) (increase(nouba_reconciliation_booked_total{SCOPE}[$__range]))",
                            "{{provider}}",
                        )
                    ],
                    kind="bargauge",
                    width=6,
                    quiet=True,
                ),
                Panel(
                    "Breakers",
                    "Whether a provider is asked.",
                    "short",
                    [("max by (provider) (nouba_provider_breaker_state{SCOPE})", "{{provider}}")],
                    kind="stat",
                    width=6,
                    quiet=True,
                    limits=(1, 2),
                    words={"0": "asked", "1": "tried", "2": "left alone"},
                ),
            ],
        ),
    ],
)
