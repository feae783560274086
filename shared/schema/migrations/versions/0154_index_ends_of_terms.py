"""Where terms end, so that the rows of what began or ended in a day are found without reading all terms.

Terms of one block end a week, a month or a year later: `minmax_multi` keeps the times of each apart.
"""

from shared.schema.migrations.concurrently import create_index

revision = "0154"
down_revision = "0152"


def upgrade() -> None:
    create_index(
        "brin_subscriptions_ends_at",
        "subscriptions USING brin (ends_at timestamptz_minmax_multi_ops, activated_at)"
        " WITH (pages_per_range = 32, autosummarize = on)",
    )
