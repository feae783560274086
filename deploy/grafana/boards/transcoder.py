"""Board of the transcoder: open jobs, speed of each task, and failures."""

from deploy.grafana.panels import Board, Panel

BOARD = Board(
    uid="nouba-transcoder",
    title="Nouba / Transcoder",
    description="Jobs, task durations, failures and storage.",
    jobs="transcoder",
    rows=[
        (
            "Jobs",
            [
                Panel(
                    "Jobs in progress",
                    "Uploads that are not transcoded yet.",
                    "short",
                    [("max(nouba_transcoder_open_jobs{SCOPE})", "lessons")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Oldest job",
                    "Age of the oldest job in progress.",
                    "s",
                    [("max(nouba_transcoder_oldest_job_age_seconds{SCOPE})", "oldest")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Pending tasks",
                    "Tasks without a lease.",
                    "short",
                    [("max(nouba_transcoder_tasks_pending{SCOPE})", "parts")],
                    width=6,
                ),
                Panel(
                    "Finished jobs",
                    "Jobs that completed or failed.",
                    "short",
                    [("sum by (state) (increase(nouba_transcoder_jobs_total{SCOPE}[$__range]))", "{{state}}")],
                    kind="bargauge",
                    width=6,
                ),
            ],
        ),
        (
            "Tasks",
            [
                Panel(
                    "Duration (p95)",
                    "Duration of a task, by kind.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.95, sum by (kind, le) "
                            "(rate(nouba_transcoder_task_duration_seconds_bucket{SCOPE, "
                            'outcome="done"}[$__rate_interval])))',
                            "{{kind}}",
                        )
                    ],
                ),
                Panel(
                    "Completed tasks",
                    "Completed tasks, by kind.",
                    "ops",
                    [
                        (
                            "sum by (kind) "
                            "(rate(nouba_transcoder_task_duration_seconds_count{SCOPE, "
                            'outcome="done"}[$__rate_interval]))',
                            "{{kind}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Busy threads",
                    "Threads busy with each kind of task.",
                    "short",
                    [
                        (
                            "sum by (kind) (rate(nouba_transcoder_task_duration_seconds_sum{SCOPE}[$__rate_interval]))",
                            "{{kind}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Encoding speed (p50)",
                    "Seconds of video that one chunk task encodes in one second.",
                    "short",
                    [
                        (
                            "histogram_quantile(0.5, sum by (le) "
                            "(rate(nouba_transcoder_speed_ratio_bucket{SCOPE}[$__rate_interval])))",
                            "median",
                        )
                    ],
                ),
                Panel(
                    "Encoding throughput",
                    "Seconds of video encoded in one second, by all workers.",
                    "short",
                    [
                        (
                            "sum by (kind) (rate(nouba_transcoder_media_seconds_total{SCOPE}[$__rate_interval]))",
                            "{{kind}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Utilisation",
                    "Share of the threads that run a task.",
                    "percentunit",
                    [
                        (
                            'sum(nouba_messages_in_progress{SCOPE, queue="videos"}) '
                            '/ sum(nouba_worker_threads{SCOPE, queue="videos"})',
                            "busy",
                        )
                    ],
                ),
            ],
        ),
        (
            "Failures and storage",
            [
                Panel(
                    "Failed tasks",
                    "lost: another took the lease; again: tried again; failed; stopped: given back at a stop.",
                    "short",
                    [
                        (
                            "sum by (kind, outcome) (increase("
                            'nouba_transcoder_task_duration_seconds_count{SCOPE, outcome!="done"}[$__rate_interval]))',
                            "{{kind}} {{outcome}}",
                        )
                    ],
                    quiet=True,
                ),
                Panel(
                    "Leases lost",
                    "Tasks whose lease expired and that another worker took over.",
                    "short",
                    [("sum(increase(nouba_transcoder_leases_lost_total{SCOPE}[$__range]))", "parts")],
                    kind="stat",
                ),
                Panel(
                    "S3",
                    "Bytes to and from S3.",
                    "Bps",
                    [
                        (
                            "sum by (direction) (rate(nouba_transcoder_storage_bytes_total{SCOPE}[$__rate_interval]))",
                            "{{direction}}",
                        )
                    ],
                ),
                Panel(
                    "Objects removed",
                    "Objects that no lesson references.",
                    "short",
                    [("sum(increase(nouba_transcoder_objects_removed_total{SCOPE}[$__range]))", "objects")],
                    kind="stat",
                    width=12,
                ),
                Panel(
                    "Memory",
                    "Memory of the workers, without ffmpeg.",
                    "bytes",
                    [('process_resident_memory_bytes{SCOPE, job="transcoder"}', "{{instance}}")],
                    width=12,
                ),
            ],
        ),
    ],
)
