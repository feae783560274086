"""Metrics of the transcoder."""

from prometheus_client import Counter, Gauge, Histogram

TASK_SECONDS = Histogram(
    "nouba_transcoder_task_duration_seconds",
    "Time that a task took, by kind (plan, first, video, audio, stills, publish, speech) and outcome: "
    "done, lost (its lease), again, failed, stopped.",
    ["kind", "outcome"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 1800),
)
MEDIA_SECONDS = Counter(
    "nouba_transcoder_media_seconds_total",
    "Seconds of lessons made, by kind; divided by the time of the tasks it is the speed.",
    ["kind"],
)
SPEED = Histogram(
    "nouba_transcoder_speed_ratio",
    "Seconds of lesson that one chunk made in one second.",
    buckets=(0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50),
)
LEASES_LOST = Counter("nouba_transcoder_leases_lost_total", "Tasks that another worker took over from this one.")
STORAGE_BYTES = Counter("nouba_transcoder_storage_bytes_total", "Bytes to (up) and from (down) S3.", ["direction"])
JOBS_ENDED = Counter("nouba_transcoder_jobs_total", "Jobs that this worker ended: completed or failed.", ["state"])
REMOVED = Counter("nouba_transcoder_objects_removed_total", "Objects removed from S3 because no lesson needs them.")
OPEN_JOBS = Gauge("nouba_transcoder_open_jobs", "Jobs that are not over; every worker says the same.")
PENDING_TASKS = Gauge("nouba_transcoder_tasks_pending", "Pending tasks of open jobs.")
OLDEST_JOB_AGE_SECONDS = Gauge("nouba_transcoder_oldest_job_age_seconds", "Age of the oldest open job; 0 without one.")
