"""Board of the gateway: requests by provider and verdict, latency, and the spool."""

from deploy.grafana.panels import Board, Choice, Panel

_REQUESTS = 'nouba_gateway_requests_total{SCOPE, provider=~"$provider"'
_ACCEPT = 'nouba_gateway_accept_seconds_bucket{SCOPE, provider=~"$provider"}'

BOARD = Board(
    uid="nouba-gateway",
    title="Nouba / Gateway",
    description="Webhooks by provider and verdict, latency, outbox and spool.",
    jobs="gateway|events-worker",
    choices=[Choice("provider", "Provider", 'label_values(nouba_gateway_requests_total{job=~"$job"}, provider)')],
    rows=[
        (
            "Webhooks",
            [
                Panel(
                    "By provider",
                    "Requests by provider; `none` is malformed HTTP.",
                    "reqps",
                    [(f"sum by (provider) (rate({_REQUESTS}}}[$__rate_interval]))", "{{provider}}")],
                    stacked=True,
                ),
                Panel(
                    "By verdict",
                    "accepted, duplicate, quarantined: kept. signature, limited: refused. The rest is our fault.",
                    "reqps",
                    [(f"sum by (verdict) (rate({_REQUESTS}}}[$__rate_interval]))", "{{verdict}}")],
                    stacked=True,
                ),
                Panel(
                    "Error rate (5xx)",
                    "Share of the webhooks that were answered with 5xx; the objective is at most 0.1 %.",
                    "percentunit",
                    [
                        (
                            f'(sum(rate({_REQUESTS}, verdict=~"unavailable|failed"}}[$__rate_interval])) or vector(0)) '
                            f"/ (sum(rate({_REQUESTS}}}[$__rate_interval])) > 0)",
                            "errors",
                        )
                    ],
                    limits=(0.001, 0.0144),
                ),
                Panel(
                    "Invalid signatures",
                    "Webhooks without a valid signature: a changed secret, or a probe.",
                    "reqps",
                    [
                        (
                            f'sum by (provider) (rate({_REQUESTS}, verdict="signature"}}[$__rate_interval]))',
                            "{{provider}}",
                        )
                    ],
                    quiet=True,
                ),
                Panel(
                    "Duplicates",
                    "Share of the accepted webhooks that were stored before: retries of the provider.",
                    "percentunit",
                    [
                        (
                            f'sum by (provider) (rate({_REQUESTS}, verdict="duplicate"}}[$__rate_interval])) / '
                            f"(sum by (provider) (rate({_REQUESTS}}}[$__rate_interval])) > 0)",
                            "{{provider}}",
                        )
                    ],
                    quiet=True,
                ),
                Panel(
                    "Totals in the selected time",
                    "Webhooks by provider and verdict.",
                    "short",
                    [(f"sum by (provider, verdict) (increase({_REQUESTS}}}[$__range]))", "")],
                    kind="table",
                ),
            ],
        ),
        (
            "Accept latency",
            [
                Panel(
                    "Accept latency (p99)",
                    "From the last byte of the body to the commit of the event.",
                    "s",
                    [
                        (
                            f"histogram_quantile(0.99, sum by (provider, le) (rate({_ACCEPT}[$__rate_interval])))",
                            "{{provider}}",
                        )
                    ],
                    limits=(0.25, 1),
                ),
                Panel(
                    "Accept latency (p50)",
                    "From the last byte of the body to the commit of the event.",
                    "s",
                    [
                        (
                            f"histogram_quantile(0.5, sum by (provider, le) (rate({_ACCEPT}[$__rate_interval])))",
                            "{{provider}}",
                        )
                    ],
                ),
                Panel(
                    "Accept latency (heatmap)",
                    "Distribution of the time to the commit.",
                    "short",
                    [(f"sum by (le) (increase({_ACCEPT}[$__rate_interval]))", "{{le}}")],
                    kind="heatmap",
                ),
            ],
        ),
        (
            "Outbox and spool",
            [
                Panel(
                    "Outbox messages",
                    "Messages that RabbitMQ has not confirmed yet.",
                    "short",
                    [('max(nouba_outbox_pending_messages{SCOPE, service="gateway"})', "messages")],
                ),
                Panel(
                    "Oldest of them",
                    "Age of the oldest outbox message.",
                    "s",
                    [('max(nouba_outbox_oldest_age_seconds{SCOPE, service="gateway"})', "oldest")],
                    limits=(15, 45),
                ),
                Panel(
                    "Database",
                    "Whether the gateway reaches PostgreSQL; otherwise events go to the spool.",
                    "short",
                    [("max(nouba_gateway_database_unavailable{SCOPE})", "database")],
                    kind="stat",
                    limits=(1, 1),
                    words={"0": "there", "1": "unavailable"},
                ),
                Panel(
                    "Spooled events",
                    "Events on the gateway's disk that are not in the database yet.",
                    "short",
                    [
                        ("sum(nouba_gateway_spool_events{SCOPE})", "waiting"),
                        ("sum(nouba_gateway_spool_refused_events{SCOPE})", "refused by the database"),
                    ],
                ),
                Panel(
                    "Oldest spooled event",
                    "Age of the oldest event in the spool.",
                    "s",
                    [("max(nouba_gateway_spool_oldest_age_seconds{SCOPE})", "oldest")],
                ),
                Panel(
                    "Spool usage",
                    "Bytes used, and the limit; a full spool means 503.",
                    "bytes",
                    [
                        ("sum(nouba_gateway_spool_bytes{SCOPE})", "taken"),
                        ("sum(nouba_gateway_spool_limit_bytes{SCOPE})", "limit"),
                    ],
                ),
                Panel(
                    "Spool throughput",
                    "Events written to the spool, and drained into the database.",
                    "ops",
                    [
                        ("sum(rate(nouba_gateway_spool_written_total{SCOPE}[$__rate_interval]))", "spooled"),
                        (
                            "sum by (verdict) (rate(nouba_gateway_spool_drained_total{SCOPE}[$__rate_interval]))",
                            "taken over: {{verdict}}",
                        ),
                    ],
                    width=24,
                    quiet=True,
                ),
            ],
        ),
        (
            "Events out",
            [
                Panel(
                    "Deliveries",
                    "Attempts to post an event to an endpoint: delivered, failed (tried again), given up.",
                    "ops",
                    [("sum by (outcome) (rate(nouba_event_deliveries_total{SCOPE}[$__rate_interval]))", "{{outcome}}")],
                    stacked=True,
                    quiet=True,
                ),
                Panel(
                    "Delay",
                    "From an event to its delivery, where the first attempt succeeded.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.99, "
                            "sum by (le) (rate(nouba_event_delay_seconds_bucket{SCOPE}[$__rate_interval])))",
                            "p99",
                        ),
                        (
                            "histogram_quantile(0.5, "
                            "sum by (le) (rate(nouba_event_post_seconds_bucket{SCOPE}[$__rate_interval])))",
                            "an endpoint's answer, median",
                        ),
                    ],
                    quiet=True,
                ),
                Panel(
                    "Waiting",
                    "Deliveries that are not delivered yet; an endpoint that is down keeps its own.",
                    "short",
                    [("max(nouba_event_deliveries_waiting{SCOPE})", "deliveries")],
                    quiet=True,
                ),
                Panel(
                    "Endpoints",
                    "Endpoints by state.",
                    "short",
                    [("max by (state) (nouba_event_endpoints{SCOPE})", "{{state}}")],
                    quiet=True,
                ),
            ],
        ),
    ],
)
