"""Is the broker well? Alarms, room, connections and its own count of messages."""

from deploy.grafana.panels import Board, Panel

_GLOBAL = "sum(rate(rabbitmq_global_messages_%s_total{SCOPE}[$__rate_interval]))"

BOARD = Board(
    uid="nouba-rabbitmq",
    title="Nouba / RabbitMQ",
    description="Is the broker well? Alarms, room, connections and its own count of messages.",
    jobs="rabbitmq.*",
    rows=[
        (
            "Room",
            [
                Panel(
                    "Alarms",
                    "While one is on, nobody can publish.",
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
                    "Used, and where publishers are stopped.",
                    "bytes",
                    [
                        ("sum(rabbitmq_process_resident_memory_bytes{SCOPE})", "used"),
                        ("sum(rabbitmq_resident_memory_limit_bytes{SCOPE})", "limit"),
                    ],
                ),
                Panel(
                    "Disk",
                    "Free, and where publishers are stopped.",
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
                    "In",
                    "Messages that it received, and those that it confirmed to their publishers.",
                    "ops",
                    [(_GLOBAL % "received", "received"), (_GLOBAL % "confirmed", "confirmed")],
                ),
                Panel(
                    "Out",
                    "Messages that it handed out, and those that workers acknowledged.",
                    "ops",
                    [(_GLOBAL % "delivered", "delivered"), (_GLOBAL % "acknowledged", "acknowledged")],
                ),
                Panel(
                    "Not as it should be",
                    "Handed out again after a worker died; sent to a queue that is not there.",
                    "ops",
                    [
                        (_GLOBAL % "redelivered", "handed out again"),
                        (_GLOBAL % "unroutable_returned", "returned"),
                        (_GLOBAL % "unroutable_dropped", "dropped"),
                    ],
                ),
                Panel(
                    "Put aside",
                    "Messages that it moved to a dead-letter queue, and why.",
                    "ops",
                    [
                        (_GLOBAL % "dead_lettered_rejected", "rejected"),
                        (_GLOBAL % "dead_lettered_delivery_limit", "delivered too often"),
                        (_GLOBAL % "dead_lettered_expired", "expired"),
                    ],
                ),
                Panel(
                    "Size of the queues",
                    "Bytes of the messages in each queue.",
                    "bytes",
                    [("sum by (queue) (rabbitmq_detailed_queue_messages_bytes{SCOPE})", "{{queue}}")],
                ),
                Panel(
                    "Memory of the queues",
                    "That each queue's process takes.",
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
                    "Of our processes; each keeps a few.",
                    "short",
                    [('sum(rabbitmq_connections{SCOPE, job="rabbitmq"})', "connections")],
                ),
                Panel(
                    "Opened",
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
