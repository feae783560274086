"""Board of the queues: depth, latency, time to clear, dead letters and the relay."""

from deploy.grafana.panels import Board, Choice, Panel

BOARD = Board(
    uid="nouba-queues",
    title="Nouba / Queues",
    description="Depth, latency, consumers and failures of each queue.",
    jobs="gateway|payments-worker|transcoder|stats-.+|rabbitmq.*",
    choices=[
        Choice(
            "queue", "Queue", 'label_values(rabbitmq_detailed_queue_messages_ready{job=~"$job"}, queue)', "/^[^.]+$/"
        )
    ],
    rows=[
        (
            "Backlog",
            [
                Panel(
                    "Ready",
                    "Messages ready for delivery.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_messages_ready{SCOPE, queue=~"$queue"})', "{{queue}}")],
                ),
                Panel(
                    "Unacknowledged",
                    "Messages delivered and not acknowledged yet.",
                    "short",
                    [
                        (
                            'sum by (queue) (rabbitmq_detailed_queue_messages_unacked{SCOPE, queue=~"$queue"})',
                            "{{queue}}",
                        )
                    ],
                ),
                Panel(
                    "Time to clear",
                    "Depth times mean duration of the last hour, over busy slots (Horizon's formula).",
                    "s",
                    [('queue:nouba_time_to_clear:seconds{queue=~"$queue"}', "{{queue}}")],
                ),
                Panel(
                    "Queue latency (p95)",
                    "From the time a message was due until a worker started it.",
                    "s",
                    [('queue:nouba_message_queue_seconds:p95_5m{queue=~"$queue"}', "{{queue}}")],
                ),
                Panel(
                    "Queue latency (heatmap)",
                    "Distribution of the time in the queue.",
                    "short",
                    [
                        (
                            "sum by (le) "
                            '(increase(nouba_message_queue_seconds_bucket{SCOPE, queue=~"$queue"}[$__rate_interval]))',
                            "{{le}}",
                        )
                    ],
                    kind="heatmap",
                ),
                Panel(
                    "Oldest unsettled event",
                    "Age of the oldest webhook event that is not settled.",
                    "s",
                    [("max(nouba_webhook_events_unsettled_oldest_age_seconds{SCOPE})", "oldest")],
                    limits=(60, 300),
                ),
            ],
        ),
        (
            "Consumers",
            [
                Panel(
                    "Consumers",
                    "Consumers of each queue.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_consumers{SCOPE, queue=~"$queue"})', "{{queue}}")],
                    kind="stat",
                    width=6,
                    limits=(1, 1),
                    rising=True,
                ),
                Panel(
                    "Threads",
                    "Messages that can be processed at once.",
                    "short",
                    [('sum by (queue) (nouba_worker_threads{SCOPE, queue=~"$queue"})', "{{queue}}")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Utilisation",
                    "Share of the threads that process a message.",
                    "percentunit",
                    [
                        (
                            'sum by (queue) (nouba_messages_in_progress{SCOPE, queue=~"$queue"}) '
                            '/ sum by (queue) (nouba_worker_threads{SCOPE, queue=~"$queue"})',
                            "{{queue}}",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Paused",
                    "Queues that an operator paused.",
                    "short",
                    [('max by (queue) (nouba_queue_paused{SCOPE, queue=~"$queue"})', "{{queue}}")],
                    kind="stat",
                    width=6,
                    limits=(1, 2),
                    words={"0": "works", "1": "paused"},
                ),
                Panel(
                    "Throughput and growth",
                    "Messages started a second; below, the growth of the queue.",
                    "ops",
                    [
                        (
                            "sum by (queue) "
                            '(rate(nouba_message_queue_seconds_count{SCOPE, queue=~"$queue"}[$__rate_interval]))',
                            "{{queue}} begun",
                        ),
                        (
                            "sum by (queue) "
                            '(deriv(rabbitmq_detailed_queue_messages_ready{SCOPE, queue=~"$queue"}[$__rate_interval]))',
                            "{{queue}} growth",
                        ),
                    ],
                    width=12,
                ),
                Panel(
                    "Published",
                    "Messages that the relays published, by publisher confirm; unconfirmed ones are published again.",
                    "ops",
                    [
                        (
                            "sum by (service) (rate(nouba_relay_published_total{SCOPE}[$__rate_interval]))",
                            "{{service}} confirmed",
                        ),
                        (
                            "sum by (service) (rate(nouba_relay_unconfirmed_total{SCOPE}[$__rate_interval]))",
                            "{{service}} failed",
                        ),
                    ],
                    width=12,
                ),
            ],
        ),
        (
            "Failures",
            [
                Panel(
                    "Outbox",
                    "Messages that RabbitMQ has not confirmed yet.",
                    "short",
                    [("max by (service) (nouba_outbox_pending_messages{SCOPE})", "{{service}}")],
                ),
                Panel(
                    "Delayed",
                    "Retries that are not due yet.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_messages{SCOPE, queue=~".+[.]DQ"})', "{{queue}}")],
                ),
                Panel(
                    "Redeliveries",
                    "Messages whose worker died while processing them.",
                    "short",
                    [
                        (
                            "sum by (queue) "
                            '(increase(nouba_message_redeliveries_total{SCOPE, queue=~"$queue"}[$__rate_interval]))',
                            "{{queue}}",
                        )
                    ],
                    quiet=True,
                ),
                Panel(
                    "Dead letters, not collected",
                    "Dead letters that are still in RabbitMQ, which drops them after seven days.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_messages{SCOPE, queue=~".+[.]XQ"})', "{{queue}}")],
                    limits=(1, 100),
                ),
                Panel(
                    "Dead letters",
                    "Collected dead letters by state.",
                    "short",
                    [("max by (queue, state) (nouba_dead_letters{SCOPE})", "{{queue}} {{state}}")],
                    quiet=True,
                ),
                Panel(
                    "New dead letters",
                    "Dead letters collected a second.",
                    "short",
                    [
                        (
                            "sum by (queue) (increase(nouba_dead_letters_collected_total{SCOPE}[$__rate_interval]))",
                            "{{queue}}",
                        )
                    ],
                    quiet=True,
                ),
            ],
        ),
    ],
)
