"""Board of every dramatiq actor: rate, errors and duration."""

from deploy.grafana.panels import Board, Choice, Panel

_JOBS = '{SCOPE, queue=~"$queue", actor=~"$actor"'


def _duration(share: float) -> str:
    buckets = f"rate(nouba_message_duration_seconds_bucket{_JOBS}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by (actor, le) ({buckets}))"


BOARD = Board(
    uid="nouba-actors",
    title="Nouba / Actors",
    description="Rate, errors and duration of messages by actor.",
    jobs="payments-worker|transcoder|stats-worker",
    choices=[
        Choice("queue", "Queue", 'label_values(nouba_messages_total{job=~"$job"}, queue)'),
        Choice("actor", "Actor", 'label_values(nouba_messages_total{job=~"$job", queue=~"$queue"}, actor)'),
    ],
    rows=[
        (
            "Rate and errors",
            [
                Panel(
                    "Rate",
                    "Processed messages, whatever the outcome.",
                    "ops",
                    [(f"sum by (actor) (rate(nouba_messages_total{_JOBS}}}[$__rate_interval]))", "{{actor}}")],
                ),
                Panel(
                    "Outcomes",
                    "Done, retried, or dead.",
                    "ops",
                    [(f"sum by (outcome) (rate(nouba_messages_total{_JOBS}}}[$__rate_interval]))", "{{outcome}}")],
                    stacked=True,
                ),
                Panel(
                    "Failed attempts",
                    "Share of the attempts that failed.",
                    "percentunit",
                    [
                        (
                            f'(sum by (actor) (rate(nouba_messages_total{_JOBS}, outcome!="done"}}[$__rate_interval])) '
                            f"or 0 * sum by (actor) (rate(nouba_messages_total{_JOBS}}}[$__rate_interval]))) "
                            f"/ (sum by (actor) (rate(nouba_messages_total{_JOBS}}}[$__rate_interval])) > 0)",
                            "{{actor}}",
                        )
                    ],
                    limits=(0.1, 0.5),
                ),
                Panel(
                    "In progress",
                    "Messages in progress.",
                    "short",
                    [('sum by (queue) (nouba_messages_in_progress{SCOPE, queue=~"$queue"})', "{{queue}}")],
                ),
                Panel(
                    "Attempts",
                    "Mean number of attempts a message.",
                    "short",
                    [
                        (
                            f"sum by (actor) (rate(nouba_message_attempts_sum{_JOBS}}}[$__rate_interval])) "
                            f"/ (sum by (actor) (rate(nouba_message_attempts_count{_JOBS}}}[$__rate_interval])) > 0)",
                            "{{actor}}",
                        )
                    ],
                ),
                Panel(
                    "Dead",
                    "Messages that failed permanently.",
                    "short",
                    [
                        (
                            (
                                f"sum by (actor) (increase(nouba_messages_total{_JOBS}, "
                                f'outcome="dead"}}[$__rate_interval]))'
                            ),
                            "{{actor}}",
                        )
                    ],
                    quiet=True,
                ),
            ],
        ),
        (
            "Message duration",
            [
                Panel("Duration (p50)", "p50 by actor.", "s", [(_duration(0.5), "{{actor}}")]),
                Panel("Duration (p95)", "p95 by actor.", "s", [(_duration(0.95), "{{actor}}")]),
                Panel("99 of 100", "99 of 100 jobs were faster.", "s", [(_duration(0.99), "{{actor}}")]),
                Panel(
                    "Duration (heatmap)",
                    "Distribution of the duration.",
                    "short",
                    [
                        (
                            f"sum by (le) (increase(nouba_message_duration_seconds_bucket{_JOBS}}}[$__rate_interval]))",
                            "{{le}}",
                        )
                    ],
                    kind="heatmap",
                    width=12,
                ),
                Panel(
                    "Busy threads",
                    "Rate times duration, by actor.",
                    "short",
                    [
                        (
                            f"sum by (actor) (rate(nouba_message_duration_seconds_sum{_JOBS}}}[$__rate_interval]))",
                            "{{actor}}",
                        )
                    ],
                    width=12,
                    stacked=True,
                ),
                Panel(
                    "Totals in the selected time",
                    "Messages by actor and outcome.",
                    "short",
                    [(f"sum by (queue, actor, outcome) (increase(nouba_messages_total{_JOBS}}}[$__range]))", "")],
                    kind="table",
                    width=24,
                ),
            ],
        ),
    ],
)
