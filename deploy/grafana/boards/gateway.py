"""Are webhooks kept? Requests by provider and verdict, how fast, and the spool for when the database is away."""

from deploy.grafana.panels import Board, Choice, Panel

_REQUESTS = 'nouba_gateway_requests_total{SCOPE, provider=~"$provider"'
_ACCEPT = 'nouba_gateway_accept_seconds_bucket{SCOPE, provider=~"$provider"}'

BOARD = Board(
    uid="nouba-gateway",
    title="Nouba / Gateway",
    description="Are webhooks kept? By provider and verdict, how fast, and the spool for when the database is away.",
    jobs="gateway",
    choices=[Choice("provider", "Provider", 'label_values(nouba_gateway_requests_total{job=~"$job"}, provider)')],
    rows=[
        (
            "Webhooks",
            [
                Panel(
                    "By provider",
                    "Requests of each provider; `none` is not HTTP.",
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
                    "Errors of ours",
                    "Share of the webhooks that were answered with 5xx; a thousandth is the promise.",
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
                    "Wrong signatures",
                    "Webhooks that proved nothing: a changed secret, or somebody who knocks.",
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
                    "Share of the kept webhooks that we had already: providers that did not hear our answer.",
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
                    "In this time",
                    "Webhooks by provider and verdict.",
                    "short",
                    [(f"sum by (provider, verdict) (increase({_REQUESTS}}}[$__range]))", "")],
                    kind="table",
                ),
            ],
        ),
        (
            "How fast they are durable",
            [
                Panel(
                    "Accept, 99 of 100",
                    "From the last byte of the body to a durable event.",
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
                    "Accept, median",
                    "From the last byte of the body to a durable event.",
                    "s",
                    [
                        (
                            f"histogram_quantile(0.5, sum by (provider, le) (rate({_ACCEPT}[$__rate_interval])))",
                            "{{provider}}",
                        )
                    ],
                ),
                Panel(
                    "Accept, heatmap",
                    "How many webhooks were durable after how long.",
                    "short",
                    [(f"sum by (le) (increase({_ACCEPT}[$__rate_interval]))", "{{le}}")],
                    kind="heatmap",
                ),
            ],
        ),
        (
            "Kept, and not carried on yet",
            [
                Panel(
                    "Kept and unpublished",
                    "Events whose message RabbitMQ does not have yet.",
                    "short",
                    [('max(nouba_relay_backlog_messages{SCOPE, service="gateway"})', "messages")],
                ),
                Panel(
                    "Oldest of them",
                    "For how long RabbitMQ has been out of reach.",
                    "s",
                    [('max(nouba_relay_backlog_age_seconds{SCOPE, service="gateway"})', "oldest")],
                    limits=(15, 45),
                ),
                Panel(
                    "Database",
                    "Whether the gateway reaches PostgreSQL; while it does not, webhooks go to the spool.",
                    "short",
                    [("max(nouba_gateway_database_away{SCOPE})", "database")],
                    kind="stat",
                    limits=(1, 1),
                    words={"0": "there", "1": "away"},
                ),
                Panel(
                    "Spool",
                    "Webhooks on the gateway's disk that the database does not have.",
                    "short",
                    [
                        ("sum(nouba_gateway_spool_events{SCOPE})", "waiting"),
                        ("sum(nouba_gateway_spool_refused_events{SCOPE})", "refused by the database"),
                    ],
                ),
                Panel(
                    "Oldest in the spool",
                    "Since when the database has been away.",
                    "s",
                    [("max(nouba_gateway_spool_oldest_age_seconds{SCOPE})", "oldest")],
                ),
                Panel(
                    "Spool, room",
                    "Room that is taken, and all there is; full means 503.",
                    "bytes",
                    [
                        ("sum(nouba_gateway_spool_bytes{SCOPE})", "taken"),
                        ("sum(nouba_gateway_spool_limit_bytes{SCOPE})", "limit"),
                    ],
                ),
                Panel(
                    "Through the spool",
                    "Webhooks that went to the spool, and from there to the database.",
                    "ops",
                    [
                        ("sum(rate(nouba_gateway_spooled_total{SCOPE}[$__rate_interval]))", "spooled"),
                        (
                            "sum by (verdict) (rate(nouba_gateway_drained_total{SCOPE}[$__rate_interval]))",
                            "taken over: {{verdict}}",
                        ),
                    ],
                    width=24,
                    quiet=True,
                ),
            ],
        ),
    ],
)
