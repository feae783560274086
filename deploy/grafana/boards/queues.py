"""Does work flow? Depth, wait, time to clear, and what does not get through."""

from deploy.grafana.panels import Board, Choice, Panel

BOARD = Board(
    uid="nouba-queues",
    title="Nouba / Queues",
    description="Does work flow? Depth, wait, time to clear, and what does not get through.",
    jobs="gateway|payments-worker|transcoder|stats-.+|rabbitmq.*",
    choices=[
        Choice(
            "queue", "Queue", 'label_values(rabbitmq_detailed_queue_messages_ready{job=~"$job"}, queue)', "/^[^.]+$/"
        )
    ],
    rows=[
        (
            "What waits",
            [
                Panel(
                    "Ready",
                    "Messages that a worker could take.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_messages_ready{SCOPE, queue=~"$queue"})', "{{queue}}")],
                ),
                Panel(
                    "In hand",
                    "Messages that a worker has and has not finished.",
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
                    "Wait, 95 of 100",
                    "From the moment a job was due until it began; 95 of 100 waited less.",
                    "s",
                    [('queue:nouba_job_wait_seconds:p95_5m{queue=~"$queue"}', "{{queue}}")],
                ),
                Panel(
                    "Wait, heatmap",
                    "How many jobs began after which wait.",
                    "short",
                    [
                        (
                            "sum by (le) "
                            '(increase(nouba_job_wait_seconds_bucket{SCOPE, queue=~"$queue"}[$__rate_interval]))',
                            "{{le}}",
                        )
                    ],
                    kind="heatmap",
                ),
                Panel(
                    "Oldest event",
                    "Age of the oldest webhook that is kept and not booked.",
                    "s",
                    [("max(nouba_events_unsettled_oldest_age_seconds{SCOPE})", "oldest")],
                    limits=(60, 300),
                ),
            ],
        ),
        (
            "Who works",
            [
                Panel(
                    "Consumers",
                    "Workers that RabbitMQ hands messages to.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_consumers{SCOPE, queue=~"$queue"})', "{{queue}}")],
                    kind="stat",
                    width=6,
                    limits=(1, 1),
                    rising=True,
                ),
                Panel(
                    "Threads",
                    "Jobs that can run at once.",
                    "short",
                    [('sum by (queue) (nouba_worker_threads{SCOPE, queue=~"$queue"})', "{{queue}}")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Busy",
                    "Share of the threads that run a job.",
                    "percentunit",
                    [
                        (
                            'sum by (queue) (nouba_jobs_in_progress{SCOPE, queue=~"$queue"}) '
                            '/ sum by (queue) (nouba_worker_threads{SCOPE, queue=~"$queue"})',
                            "{{queue}}",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Paused",
                    "Queues that an operator lets rest.",
                    "short",
                    [('max by (queue) (nouba_queue_paused{SCOPE, queue=~"$queue"})', "{{queue}}")],
                    kind="stat",
                    width=6,
                    limits=(1, 2),
                    words={"0": "works", "1": "paused"},
                ),
                Panel(
                    "In and out",
                    "Jobs begun in a second; below, the growth of the queue.",
                    "ops",
                    [
                        (
                            "sum by (queue) "
                            '(rate(nouba_job_wait_seconds_count{SCOPE, queue=~"$queue"}[$__rate_interval]))',
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
                    "Messages that the relays sent, confirmed by RabbitMQ or not; what is not goes again.",
                    "ops",
                    [
                        (
                            "sum by (service) (rate(nouba_relay_published_total{SCOPE}[$__rate_interval]))",
                            "{{service}} confirmed",
                        ),
                        (
                            "sum by (service) (rate(nouba_relay_failed_total{SCOPE}[$__rate_interval]))",
                            "{{service}} failed",
                        ),
                    ],
                    width=12,
                ),
            ],
        ),
        (
            "What does not get through",
            [
                Panel(
                    "Outbox",
                    "Promised messages that RabbitMQ does not have yet.",
                    "short",
                    [("max by (service) (nouba_relay_backlog_messages{SCOPE})", "{{service}}")],
                ),
                Panel(
                    "Delayed",
                    "Retries that wait for their time.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_messages{SCOPE, queue=~".+[.]DQ"})', "{{queue}}")],
                ),
                Panel(
                    "Deliveries again",
                    "Jobs whose worker died with them in hand.",
                    "short",
                    [
                        (
                            "sum by (queue) "
                            '(increase(nouba_job_redeliveries_total{SCOPE, queue=~"$queue"}[$__rate_interval]))',
                            "{{queue}}",
                        )
                    ],
                    quiet=True,
                ),
                Panel(
                    "Dead, not collected",
                    "Dead messages that are still in RabbitMQ, which keeps them for seven days.",
                    "short",
                    [('sum by (queue) (rabbitmq_detailed_queue_messages{SCOPE, queue=~".+[.]XQ"})', "{{queue}}")],
                    limits=(1, 100),
                ),
                Panel(
                    "Dead letters",
                    "Collected messages by what became of them.",
                    "short",
                    [("max by (queue, state) (nouba_dead_letters{SCOPE})", "{{queue}} {{state}}")],
                    quiet=True,
                ),
                Panel(
                    "Deaths",
                    "Messages that were collected.",
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
