"""What do jobs do? Rate, errors and duration of each actor."""

from deploy.grafana.panels import Board, Choice, Panel

_JOBS = '{SCOPE, queue=~"$queue", actor=~"$actor"'


def _duration(share: float) -> str:
    buckets = f"rate(nouba_job_seconds_bucket{_JOBS}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (actor, le) ({buckets}))"


BOARD = Board(
    uid="nouba-jobs",
    title="Nouba / Jobs",
    description="What do jobs do? Rate, errors and duration of each actor.",
    jobs="payments-worker|transcoder|stats-worker",
    choices=[
        Choice("queue", "Queue", 'label_values(nouba_jobs_total{job=~"$job"}, queue)'),
        Choice("actor", "Actor", 'label_values(nouba_jobs_total{job=~"$job", queue=~"$queue"}, actor)'),
    ],
    rows=[
        (
            "Rate and errors",
            [
                Panel(
                    "Rate",
                    "Jobs that ended, whatever became of them.",
                    "ops",
                    [(f"sum by (actor) (rate(nouba_jobs_total{_JOBS}}}[$__rate_interval]))", "{{actor}}")],
                ),
                Panel(
                    "Outcomes",
                    "Done, tried again later, or dead.",
                    "ops",
                    [(f"sum by (outcome) (rate(nouba_jobs_total{_JOBS}}}[$__rate_interval]))", "{{outcome}}")],
                    stacked=True,
                ),
                Panel(
                    "Failed attempts",
                    "Share of the attempts that did not end well.",
                    "percentunit",
                    [
                        (
                            f'(sum by (actor) (rate(nouba_jobs_total{_JOBS}, outcome!="done"}}[$__rate_interval])) '
                            f"or 0 * sum by (actor) (rate(nouba_jobs_total{_JOBS}}}[$__rate_interval]))) "
                            f"/ (sum by (actor) (rate(nouba_jobs_total{_JOBS}}}[$__rate_interval])) > 0)",
                            "{{actor}}",
                        )
                    ],
                    limits=(0.1, 0.5),
                ),
                Panel(
                    "Running",
                    "Jobs in progress.",
                    "short",
                    [('sum by (queue) (nouba_jobs_in_progress{SCOPE, queue=~"$queue"})', "{{queue}}")],
                ),
                Panel(
                    "Attempts",
                    "Attempts that jobs took, in the mean.",
                    "short",
                    [
                        (
                            f"sum by (actor) (rate(nouba_job_attempts_sum{_JOBS}}}[$__rate_interval])) "
                            f"/ (sum by (actor) (rate(nouba_job_attempts_count{_JOBS}}}[$__rate_interval])) > 0)",
                            "{{actor}}",
                        )
                    ],
                ),
                Panel(
                    "Dead",
                    "Jobs that failed for good.",
                    "short",
                    [
                        (
                            f'sum by (actor) (increase(nouba_jobs_total{_JOBS}, outcome="dead"}}[$__rate_interval]))',
                            "{{actor}}",
                        )
                    ],
                    quiet=True,
                ),
            ],
        ),
        (
            "Duration of jobs",
            [
                Panel("Median", "Half of the jobs were faster.", "s", [(_duration(0.5), "{{actor}}")]),
                Panel("95 of 100", "95 of 100 jobs were faster.", "s", [(_duration(0.95), "{{actor}}")]),
                Panel("99 of 100", "99 of 100 jobs were faster.", "s", [(_duration(0.99), "{{actor}}")]),
                Panel(
                    "Heatmap",
                    "How many jobs took how long.",
                    "short",
                    [(f"sum by (le) (increase(nouba_job_seconds_bucket{_JOBS}}}[$__rate_interval]))", "{{le}}")],
                    kind="heatmap",
                    width=12,
                ),
                Panel(
                    "Time spent",
                    "Threads that each actor keeps busy: rate times duration.",
                    "short",
                    [(f"sum by (actor) (rate(nouba_job_seconds_sum{_JOBS}}}[$__rate_interval]))", "{{actor}}")],
                    width=12,
                    stacked=True,
                ),
                Panel(
                    "In this time",
                    "Jobs of each actor that ended, by outcome.",
                    "short",
                    [(f"sum by (queue, actor, outcome) (increase(nouba_jobs_total{_JOBS}}}[$__range]))", "")],
                    kind="table",
                    width=24,
                ),
            ],
        ),
    ],
)
