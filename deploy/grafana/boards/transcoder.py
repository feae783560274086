"""Are lessons made? What waits, how fast each stage is, and what goes wrong."""

from deploy.grafana.panels import Board, Panel

BOARD = Board(
    uid="nouba-transcoder",
    title="Nouba / Transcoder",
    description="Are lessons made? What waits, how fast each stage is, and what goes wrong.",
    jobs="transcoder",
    rows=[
        (
            "Lessons",
            [
                Panel(
                    "In the making",
                    "Lessons that were uploaded and are not ready.",
                    "short",
                    [("max(nouba_transcoder_open_jobs{SCOPE})", "lessons")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Oldest",
                    "How long the oldest of them has been waiting for.",
                    "s",
                    [("max(nouba_transcoder_oldest_job_age_seconds{SCOPE})", "oldest")],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Parts that wait",
                    "Parts of lessons that nobody works on.",
                    "short",
                    [("max(nouba_transcoder_waiting_parts{SCOPE})", "parts")],
                    width=6,
                ),
                Panel(
                    "Ended",
                    "Lessons that were finished, or failed.",
                    "short",
                    [("sum by (state) (increase(nouba_transcoder_jobs_total{SCOPE}[$__range]))", "{{state}}")],
                    kind="bargauge",
                    width=6,
                ),
            ],
        ),
        (
            "Stages",
            [
                Panel(
                    "Duration, 95 of 100",
                    "Time that a part took, by kind.",
                    "s",
                    [
                        (
                            "histogram_quantile(0.95, sum by (kind, le) "
                            '(rate(nouba_transcoder_part_seconds_bucket{SCOPE, outcome="done"}[$__rate_interval])))',
                            "{{kind}}",
                        )
                    ],
                ),
                Panel(
                    "Parts",
                    "Parts that were done, by kind.",
                    "ops",
                    [
                        (
                            "sum by (kind) "
                            '(rate(nouba_transcoder_part_seconds_count{SCOPE, outcome="done"}[$__rate_interval]))',
                            "{{kind}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Time spent",
                    "Workers that each kind keeps busy.",
                    "short",
                    [
                        (
                            "sum by (kind) (rate(nouba_transcoder_part_seconds_sum{SCOPE}[$__rate_interval]))",
                            "{{kind}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Speed of a chunk, median",
                    "Seconds of a lesson that one worker makes in one second.",
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
                    "Made",
                    "Seconds of lessons made in one second, by all workers.",
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
                    "Busy workers",
                    "Share of the workers that make a part.",
                    "percentunit",
                    [
                        (
                            'sum(nouba_jobs_in_progress{SCOPE, queue="videos"}) '
                            '/ sum(nouba_worker_threads{SCOPE, queue="videos"})',
                            "busy",
                        )
                    ],
                ),
            ],
        ),
        (
            "What goes wrong, and the storage",
            [
                Panel(
                    "Parts that did not end well",
                    "lost: another took the lease; again: tried again; failed; stopped: given back at a stop.",
                    "short",
                    [
                        (
                            "sum by (kind, outcome) (increase("
                            'nouba_transcoder_part_seconds_count{SCOPE, outcome!="done"}[$__rate_interval]))',
                            "{{kind}} {{outcome}}",
                        )
                    ],
                    quiet=True,
                ),
                Panel(
                    "Leases lost",
                    "Parts that another worker took over: this one was too slow to say that it lives.",
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
                    "Removed",
                    "Objects that no lesson needs any more.",
                    "short",
                    [("sum(increase(nouba_transcoder_objects_removed_total{SCOPE}[$__range]))", "objects")],
                    kind="stat",
                    width=12,
                ),
                Panel(
                    "Memory",
                    "Of the workers themselves; ffmpeg is not in it.",
                    "bytes",
                    [('process_resident_memory_bytes{SCOPE, job="transcoder"}', "{{instance}}")],
                    width=12,
                ),
            ],
        ),
    ],
)
