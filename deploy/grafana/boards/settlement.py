"""Board of ledger integrity (drift, invariants, hash chain), settlement, and reconciliation with providers."""

from deploy.grafana.panels import Board, Panel

BOARD = Board(
    uid="nouba-settlement",
    title="Nouba / Settlement and reconciliation",
    description="Ledger integrity, settlement and reconciliation.",
    jobs="gateway|payments-worker",
    rows=[
        (
            "Ledger integrity",
            [
                Panel(
                    "Ledger drift",
                    "Centimes by which balances and ledger differ; 0 is correct.",
                    "short",
                    [("max(abs(nouba_ledger_drift_minor{SCOPE}))", "centimes")],
                    kind="stat",
                    width=6,
                    limits=(1, 1),
                ),
                Panel(
                    "Invariant violations",
                    "Rows that violate an invariant, by invariant.",
                    "short",
                    [("max by (invariant) (nouba_invariant_violations{SCOPE})", "{{invariant}}")],
                    kind="bargauge",
                    width=6,
                    limits=(1, 1),
                ),
                Panel(
                    "Last check",
                    "Time of the last invariant check.",
                    "dateTimeFromNow",
                    [("1000 * max(nouba_invariant_last_check_timestamp_seconds{SCOPE})", "checked")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Hash chain",
                    "Rows of inbox and ledger in the hash chain, which reveals altered rows.",
                    "short",
                    [("max(nouba_integrity_chain_rows{SCOPE})", "rows")],
                    kind="stat",
                    width=6,
                ),
            ],
        ),
        (
            "Settlement",
            [
                Panel(
                    "Settled events",
                    "Events by outcome.",
                    "ops",
                    [("sum by (state) (rate(nouba_settlement_events_total{SCOPE}[$__rate_interval]))", "{{state}}")],
                    stacked=True,
                ),
                Panel(
                    "Unsettled events",
                    "Accepted events that are not settled yet.",
                    "short",
                    [("max(nouba_webhook_events_unsettled{SCOPE})", "events")],
                ),
                Panel(
                    "Oldest of them",
                    "Age of the oldest unsettled event.",
                    "s",
                    [("max(nouba_webhook_events_unsettled_oldest_age_seconds{SCOPE})", "oldest")],
                    limits=(60, 300),
                ),
                Panel(
                    "Needs attention",
                    "Quarantined and dead events; they moved no money.",
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
                    "Started within 10 s",
                    "Share of the events; the objective is 99 %.",
                    "percentunit",
                    [
                        (
                            "sum(rate(nouba_message_queue_seconds_bucket"
                            '{SCOPE, queue="webhooks", le="10.0"}[$__rate_interval])) / '
                            "(sum(rate(nouba_message_queue_seconds_count{SCOPE, "
                            'queue="webhooks"}[$__rate_interval])) > 0)',
                            "in time",
                        )
                    ],
                ),
                Panel(
                    "Settlement duration (p95)",
                    "p95 of the time that one event takes.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.95, sum by (le) "
                            '(rate(nouba_message_duration_seconds_bucket{SCOPE, queue="webhooks"}[$__rate_interval])))',
                            "settle",
                        )
                    ],
                ),
            ],
        ),
        (
            "Reconciliation",
            [
                Panel(
                    "Due payments",
                    "Pending payments whose poll is due.",
                    "short",
                    [("max by (provider) (nouba_reconciliation_due{SCOPE})", "{{provider}}")],
                    width=6,
                    quiet=True,
                ),
                Panel(
                    "Provider polls",
                    "Polls by provider and answer.",
                    "ops",
                    [
                        (
                            "sum by (provider, outcome) "
                            "(rate(nouba_reconciliation_polls_total{SCOPE}[$__rate_interval]))",
                            "{{provider}} {{outcome}}",
                        )
                    ],
                    width=6,
                    quiet=True,
                ),
                Panel(
                    "Recovered payments",
                    "Payments that reconciliation found without a webhook.",
                    "short",
                    [
                        (
                            (
                                "sum by (provider) (increase("
                                "nouba_reconciliation_recovered_payments_total{SCOPE}[$__range]))"
                            ),
                            "{{provider}}",
                        )
                    ],
                    kind="bargauge",
                    width=6,
                    quiet=True,
                ),
                Panel(
                    "Circuit breakers",
                    "Whether a provider is polled.",
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
