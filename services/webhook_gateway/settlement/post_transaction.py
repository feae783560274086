"""Writes one transaction of an operator's request into the ledger; settlement writes its own in batches."""

from sqlalchemy import Connection, text

from services.webhook_gateway.payments.ledger import Transaction

_OPEN_ACCOUNT = """
INSERT INTO ledger_accounts (kind, user_id, provider) VALUES (:kind, :user_id, :provider) ON CONFLICT DO NOTHING
"""
_POST = "INSERT INTO ledger_transactions (kind) VALUES (:kind) RETURNING id"
_ENTER = """
INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
SELECT :transaction_id, id, :amount_minor, :currency FROM ledger_accounts
WHERE kind = :kind AND user_id IS NOT DISTINCT FROM CAST(:user_id AS bigint)
  AND provider IS NOT DISTINCT FROM CAST(:provider AS text)
"""


def post(connection: Connection, transaction: Transaction) -> int:
    """Write the transaction with its entries, and the accounts that are new; returns its number."""
    transaction_id = int(connection.execute(text(_POST), {"kind": transaction.kind}).scalar_one())
    for account, amount_minor in transaction.entries:
        names = {"kind": account.kind, "user_id": account.user_id, "provider": account.provider}
        connection.execute(text(_OPEN_ACCOUNT), names)
        values = {"transaction_id": transaction_id, "amount_minor": amount_minor, "currency": transaction.currency}
        connection.execute(text(_ENTER), {**names, **values})
    return transaction_id
