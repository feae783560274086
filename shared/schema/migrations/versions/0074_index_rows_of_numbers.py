"""Indexes for the rows behind a number: entries of an account in the order of their transactions, and where ids lie."""

from shared.schema.migrations.concurrently import create_index, drop_index

revision = "0074"
down_revision = "0064"

_BLOCKS = "WITH (pages_per_range = 32, autosummarize = on)"


def upgrade() -> None:
    create_index("ix_ledger_entries_account_id_transaction_id", "ledger_entries (account_id, transaction_id)")
    # the one above finds all that it did
    drop_index("ix_ledger_entries_account_id")
    for table, instant in (
        ("ledger_transactions", "created_at"), ("payments", "completed_at"), ("subscriptions", "created_at"),
    ):  # fmt: skip
        create_index(f"brin_{table}_id_{instant}", f"{table} USING brin (id, {instant}) {_BLOCKS}")
    create_index("ix_subscription_terms_returned", "subscription_terms (user_id) WHERE is_returned")
