"""Board of RabbitMQ: alarms, memory and disk, connections, and its own count of messages."""

from deploy.grafana.panels import Board, Panel

_GLOBAL = "sum(rate(rabbitmq_global_messages_%s_total{SCOPE}[$__rate_interval]))"

BOARD = Board(
    uid="nouba-rabbitmq",
    title="Nouba / RabbitMQ",
    description="Alarms, resources, message rates and connections of the broker.",
    jobs="rabbitmq.*",
    rows=[
        (
            "Resources",
            [
                Panel(
                    "Alarms",
                    "An alarm blocks all publishers.",
                    "short",
                    [
                        ("max(rabbitmq_alarms_memory_used_watermark{SCOPE})", "memory"),
                        ("max(rabbitmq_alarms_free_disk_space_watermark{SCOPE})", "disk"),
                        ("max(rabbitmq_alarms_file_descriptor_limit{SCOPE})", "files"),
                    ],
                    kind="stat",
                    limits=(1, 1),
                    words={"0": "off", "1": "ON"},
                ),
                Panel(
                    "Memory",
                    "Used, and the limit that blocks publishers.",
                    "bytes",
                    [
                        ("sum(rabbitmq_process_resident_memory_bytes{SCOPE})", "used"),
                        ("sum(rabbitmq_resident_memory_limit_bytes{SCOPE})", "limit"),
                    ],
                ),
                Panel(
                    "Disk",
                    "Free, and the limit that blocks publishers.",
                    "bytes",
                    [
                        ("min(rabbitmq_disk_space_available_bytes{SCOPE})", "free"),
                        ("max(rabbitmq_disk_space_available_limit_bytes{SCOPE})", "limit"),
                    ],
                ),
            ],
        ),
        (
            "Messages",
            [
                Panel(
                    "Publish rate",
                    "Messages received, and messages confirmed.",
                    "ops",
                    [(_GLOBAL % "received", "received"), (_GLOBAL % "confirmed", "confirmed")],
                ),
                Panel(
                    "Deliver rate",
                    "Messages delivered, and messages acknowledged.",
                    "ops",
                    [(_GLOBAL % "delivered", "delivered"), (_GLOBAL % "acknowledged", "acknowledged")],
                ),
                Panel(
                    "Redelivered and unroutable",
                    "Redelivered after a worker died; published to a queue that does not exist.",
                    "ops",
                    [
                        (_GLOBAL % "redelivered", "handed out again"),
                        (_GLOBAL % "unroutable_returned", "returned"),
                        (_GLOBAL % "unroutable_dropped", "dropped"),
                    ],
                ),
                Panel(
                    "Dead-lettered",
                    "Messages moved to a dead-letter queue, by reason.",
                    "ops",
                    [
                        (_GLOBAL % "dead_lettered_rejected", "rejected"),
                        (_GLOBAL % "dead_lettered_delivery_limit", "delivered too often"),
                        (_GLOBAL % "dead_lettered_expired", "expired"),
                    ],
                ),
                Panel(
                    "Queue size",
                    "Bytes of the messages by queue.",
                    "bytes",
                    [("sum by (queue) (rabbitmq_detailed_queue_messages_bytes{SCOPE})", "{{queue}}")],
                ),
                Panel(
                    "Queue memory",
                    "Memory of each queue's process.",
                    "bytes",
                    [("sum by (queue) (rabbitmq_detailed_queue_process_memory_bytes{SCOPE})", "{{queue}}")],
                ),
            ],
        ),
        (
            "Connections",
            [
                Panel(
                    "Connections",
                    "Open connections; each process holds a few.",
                    "short",
                    [('sum(rabbitmq_connections{SCOPE, job="rabbitmq"})', "connections")],
                ),
                Panel(
                    "Connections opened",
                    "New connections; many mean a process that restarts or leaks.",
                    "ops",
                    [("sum(rate(rabbitmq_connections_opened_total{SCOPE}[$__rate_interval]))", "opened")],
                ),
                Panel(
                    "Channels",
                    "Open channels.",
                    "short",
                    [('sum(rabbitmq_channels{SCOPE, job="rabbitmq"})', "channels")],
                ),
            ],
        ),
    ],
)
