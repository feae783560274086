"""Digests of rows for the hash chain: the columns that never change, as JSON.

The database makes the array, so that bodies need not travel; `jsonb` writes it in one way only. Of a body its digest is
in it, so that one could be erased and its seal still be explained. Instants are microseconds since 1970.
"""

from enum import StrEnum


class SealedRowKind(StrEnum):
    """The kinds of rows that are sealed; a ledger transaction is sealed with its entries."""

    EVENT = "event"
    ACCOUNT = "account"
    TRANSACTION = "transaction"


TABLES = {
    SealedRowKind.EVENT: "webhook_events",
    SealedRowKind.ACCOUNT: "ledger_accounts",
    SealedRowKind.TRANSACTION: "ledger_transactions",
}

_ARRAYS = {
    SealedRowKind.EVENT: """
        'event', r.id, r.provider, r.dedupe_key, r.method, r.headers, encode(sha256(r.body), 'hex'),
        encode(r.body_sha256, 'hex'), r.reference, r.signed, r.secret, {received_at}, {drained_at}
    """.format(
        received_at="(extract(epoch FROM r.received_at) * 1000000)::bigint",
        drained_at="(extract(epoch FROM r.drained_at) * 1000000)::bigint",
    ),
    SealedRowKind.ACCOUNT: "'account', r.id, r.kind, r.user_id, r.provider",
    SealedRowKind.TRANSACTION: """
        'transaction', r.id, r.kind, r.event_id, r.payment_id, r.subscription_id,
        (extract(epoch FROM r.created_at) * 1000000)::bigint,
        (SELECT jsonb_agg(jsonb_build_array(e.id, e.account_id, e.amount_minor, e.currency) ORDER BY e.id)
         FROM ledger_entries e WHERE e.transaction_id = r.id)
    """,
}

#: SQL for the digest of row `r` of each table.
DIGESTS = {what: f"sha256(convert_to(jsonb_build_array({array})::text, 'UTF8'))" for what, array in _ARRAYS.items()}
