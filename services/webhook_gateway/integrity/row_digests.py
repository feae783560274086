"""Digests of rows for the hash chain: the columns that never change, as JSON.

Payments and verdicts change: triggers record a digest of each state in `row_versions`, and those rows are sealed.

The database makes the array, so that bodies need not travel; `jsonb` writes it in one way only. Of a body its digest is
in it: of an erased body the digest that was kept takes its place, and the seal still fits. The same holds for the
whole of an erased act. Instants are microseconds since 1970.
"""

from enum import StrEnum


class SealedRowKind(StrEnum):
    """The kinds of rows that are sealed; a ledger transaction is sealed with its entries."""

    EVENT = "event"
    ACCOUNT = "account"
    TRANSACTION = "transaction"
    ACT = "act"
    VERSION = "version"


TABLES = {
    SealedRowKind.EVENT: "webhook_events",
    SealedRowKind.ACCOUNT: "ledger_accounts",
    SealedRowKind.TRANSACTION: "ledger_transactions",
    SealedRowKind.ACT: "operator_acts",
    SealedRowKind.VERSION: "row_versions",
}

_ARRAYS = {
    SealedRowKind.EVENT: """
        'event', r.id, r.provider, r.dedupe_key, r.method, r.headers,
        encode(CASE WHEN r.body_erased_at IS NULL THEN sha256(r.body) ELSE r.body_sha256 END, 'hex'),
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
    SealedRowKind.ACT: """
        'act', r.id, r.who, r.what, r.why, r.credential, r.ids, r.chosen_by,
        (extract(epoch FROM r.acted_at) * 1000000)::bigint
    """,
    SealedRowKind.VERSION: """
        'version', r.id, r.kind, r.row_id, r.state, encode(r.digest, 'hex'),
        (extract(epoch FROM r.recorded_at) * 1000000)::bigint
    """,
}


def _digest(array: str) -> str:
    return f"sha256(convert_to(jsonb_build_array({array})::text, 'UTF8'))"


#: SQL for the digest of row `r` of each table.
DIGESTS = {what: _digest(array) for what, array in _ARRAYS.items()}
# an act that is erased keeps the digest alone; what remains in it besides would be a forgery
DIGESTS[SealedRowKind.ACT] = (
    f"CASE WHEN r.erased_at IS NULL THEN {DIGESTS[SealedRowKind.ACT]} WHEN r.who = '' AND r.why IS NULL"
    " AND r.credential IS NULL AND r.ids = '[]' AND r.chosen_by = '{}' THEN r.sealed_digest END"
)

#: Table, SQL for the digest of the present state of row `r` as the triggers of migration 0028 record it, and which
#: rows have to be as their newest record `v` says.
STATES = {
    "payment": (
        "payments",
        _digest("""
            'payment', r.id, r.provider, r.provider_reference, r.order_number, r.user_id, r.amount_minor,
            r.amount_is_final, r.currency, r.status, r.refunded_minor, r.dispute, r.credited_minor, r.fee_minor,
            (extract(epoch FROM r.completed_at) * 1000000)::bigint
        """),
        "r.status <> 'pending' OR v.digest IS NOT NULL",
    ),
    "verdict": (
        "webhook_events",
        _digest("'verdict', r.id, r.state, r.reason, r.resolution, r.payment_id"),
        # an event that was given back to the worker goes its own way, until it is put aside again
        "r.state IN ('quarantined', 'dead') OR v.state <> 'received'",
    ),
    # with the body that is left, if one is: an erased body is empty
    "body": (
        "webhook_events",
        _digest("""
            'body', r.id, CASE r.body WHEN '' THEN encode(r.body_sha256, 'hex') ELSE 'not empty' END,
            (extract(epoch FROM r.body_erased_at) * 1000000)::bigint
        """),
        "r.body_erased_at IS NOT NULL OR v.digest IS NOT NULL",
    ),
}
