"""Tables of the gateway: inbox, payments, double-entry ledger."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

webhook_events = Table(
    "webhook_events",
    metadata,
    id_column(),
    Column("provider", Text, nullable=False),
    Column("dedupe_key", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="received"),
    # why the event is where it is: a sentence for the operator, without personal data
    Column("reason", Text),
    Column("method", Text, nullable=False, server_default="POST"),
    # only the headers that the provider's parser needs
    Column("headers", JSONB, nullable=False, server_default=text("'{}'")),
    # the bytes that were signed, exactly
    Column("body", LargeBinary, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    # when retention emptied the body; its digest stays, and with it the seal
    Column("body_erased_at", INSTANT),
    Column("reference", Text),
    Column("signed", Boolean, nullable=False, server_default=text("true")),
    # which of the active secrets matched (0 is the first): says when an old one can be retired
    Column("secret", SmallInteger),
    Column("payment_id", BigInteger, ForeignKey("payments.id")),
    # how often it was parked; `tries` leaves out those times when it only waited for a turn
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    # the first try: patience counts from here
    Column("taken_up_at", INSTANT),
    # when a waiting event is tried again, whatever became of its message
    Column("next_attempt_at", INSTANT),
    Column("received_at", INSTANT, nullable=False, server_default=text("now()")),
    # when it left the gateway's spool, where it waited for this database; most events never see one
    Column("drained_at", INSTANT),
    Column("processed_at", INSTANT),
    # what an operator decided about a quarantined or dead event; null while nobody has
    Column("resolution", Text),
    UniqueConstraint("provider", "dedupe_key"),
    CheckConstraint("state IN ('received', 'applied', 'ignored', 'quarantined', 'dead')", name="state_known"),
    CheckConstraint("resolution IN ('accepted', 'dismissed')", name="resolution_known"),
    Index("ix_webhook_events_payment_id", "payment_id", postgresql_where=text("payment_id IS NOT NULL")),
    Index(
        "ix_webhook_events_undecided",
        "id",
        postgresql_where=text("state IN ('quarantined', 'dead') AND resolution IS NULL"),
    ),
    Index(
        "ix_webhook_events_undecided_reference",
        "reference",
        "provider",
        postgresql_where=text("state IN ('quarantined', 'dead') AND resolution IS NULL"),
    ),
    # with the provider, by which they are counted
    Index(
        "ix_webhook_events_rare",
        "state",
        "id",
        postgresql_include=["provider"],
        postgresql_where=text("state IN ('quarantined', 'dead', 'ignored')"),
    ),
    Index("ix_webhook_events_reasons", "id", postgresql_where=text("reason IS NOT NULL")),
    Index("ix_webhook_events_kept_bodies", "received_at", postgresql_where=text("body_erased_at IS NULL")),
    Index("ix_webhook_events_waiting", "next_attempt_at", postgresql_where=text("state = 'received'")),
    # "waiting" is said in other words, so that no query for these rows goes through all that wait instead
    Index(
        "ix_webhook_events_parked",
        "reference",
        "provider",
        postgresql_where=text("((attempts > 0) AND (processed_at IS NULL))"),
    ),
    # the question that is open about an order, so that a hint about it does not open another
    Index(
        "ix_webhook_events_questions",
        "reference",
        "provider",
        postgresql_where=text("((state = 'received'::text) AND (NOT signed))"),
    ),
    info={"writer": "gateway"},
)

payments = Table(
    "payments",
    metadata,
    id_column(),
    Column("provider", Text, nullable=False),
    Column("provider_reference", Text),
    Column("order_number", Text),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    # a checkout says what is to be paid, a collection what was; a hold or a failed attempt only what was tried
    Column("amount_is_final", Boolean, nullable=False, server_default=text("true")),
    Column("currency", Text, nullable=False, server_default="DZD"),
    Column("method", Text),
    Column("status", Text, nullable=False, server_default="pending"),
    Column("refunded_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("dispute", Text, nullable=False, server_default="none"),
    # what the payer's wallet holds of this payment: the ledger's entries for it add up to this
    Column("credited_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("fee_minor", BigInteger),
    Column("failure_reason", Text),
    created_at_column(),
    Column("completed_at", INSTANT),
    # what the school's checkout registered, kept when something else was collected
    Column("registered_minor", BigInteger),
    # the provider's own time of the collection that counts, and of the cumulative figure of refunds, and by how much
    # that figure fell just then
    Column("amount_told_at", INSTANT),
    Column("refunded_total_minor", BigInteger),
    Column("refunded_fell_minor", BigInteger),
    Column("refunded_told_at", INSTANT),
    # the subscription that it was made for, as somebody outside named it: it need not exist. What the school's checkout
    # registered is kept when an event names another one
    Column("subscription_id", BigInteger),
    Column("registered_subscription_id", BigInteger),
    # how often and when the provider was asked about it, and when it is asked again; never again where that is null
    Column("asks", Integer, nullable=False, server_default=text("0")),
    Column("asked_at", INSTANT),
    Column("next_ask_at", INSTANT, server_default=text("(now() + '00:02:00'::interval)")),
    UniqueConstraint("provider", "provider_reference"),
    CheckConstraint(
        "status IN ('pending', 'authorized', 'expired', 'canceled', 'failed', 'completed', "
        "'partially_refunded', 'refunded', 'disputed', 'charged_back')",
        name="status_known",
    ),
    CheckConstraint("dispute IN ('none', 'open', 'won', 'lost')", name="dispute_known"),
    CheckConstraint("amount_minor >= 0 AND refunded_minor >= 0", name="amounts_not_negative"),
    CheckConstraint("credited_minor BETWEEN 0 AND amount_minor", name="credit_within_amount"),
    # not for a search by reference, which without statistics would read all payments of the provider
    Index("ix_payments_provider_order", "provider", "order_number", postgresql_where=text("order_number IS NOT NULL")),
    Index("ix_payments_order_number", "order_number", postgresql_where=text("completed_at IS NOT NULL")),
    Index(None, "user_id"),
    Index(
        "ix_payments_rare_states",
        "status",
        "id",
        postgresql_where=text(
            "status IN ('pending', 'authorized', 'disputed', 'charged_back', 'refunded', 'partially_refunded')"
        ),
    ),
    Index(
        "ix_payments_unfinished",
        "provider",
        "next_ask_at",
        postgresql_where=text("status IN ('pending', 'authorized')"),
    ),
    # a provider whose answers about what is collected report more than its webhooks
    Index(
        "ix_payments_follow_ups",
        "provider",
        "next_ask_at",
        postgresql_where=text(
            "((provider = 'stripe'::text) AND (completed_at IS NOT NULL) AND (next_ask_at IS NOT NULL))"
        ),
    ),
    # one where a payer whose card was declined may try another one
    Index(
        "ix_payments_failed",
        "provider",
        "next_ask_at",
        postgresql_where=text(
            "((provider = 'stripe'::text) AND (status = 'failed'::text) AND (next_ask_at IS NOT NULL))"
        ),
    ),
    info={"writer": "gateway"},
)

# The provider's own objects of a payment: what was refunded, what is disputed, what it cost. A fee's state is its kind.
payment_objects = Table(
    "payment_objects",
    metadata,
    Column("payment_id", BigInteger, ForeignKey("payments.id"), primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    # the provider's times: when a refund began, when it ended without success, when a dispute was decided
    Column("began_at", INSTANT),
    Column("ended_at", INSTANT),
    # the provider's own time of the amount of a dispute
    Column("reported_at", INSTANT),
    CheckConstraint(
        "kind = 'refund' AND state IN ('pending', 'succeeded', 'canceled', 'failed') "
        "OR kind = 'dispute' AND state IN ('inquiry', 'open', 'won', 'lost') "
        "OR kind = 'fee' AND state IN ('payment', 'dispute')",
        name="state_known",
    ),
    CheckConstraint("amount_minor >= 0 OR kind = 'fee'", name="amount_not_negative"),
    info={"writer": "gateway"},
)

# What a provider's customer, subscription or invoice says about the payments that name it: who pays, or which it is.
payment_links = Table(
    "payment_links",
    metadata,
    id_column(),
    Column("provider", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey("users.id")),
    Column("reference", Text),
    created_at_column(),
    UniqueConstraint("provider", "object_id", "user_id", "reference", postgresql_nulls_not_distinct=True),
    info={"writer": "gateway"},
)

# Subscriptions that ran under the rule of a release before 0013; they run on for as long as the wallet covers them.
kept_subscriptions = Table(
    "kept_subscriptions",
    metadata,
    Column("subscription_id", BigInteger, ForeignKey("subscriptions.id"), primary_key=True, autoincrement=False),
    info={"writer": "gateway"},
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("user_id", BigInteger, ForeignKey("users.id")),
    Column("provider", Text),
    UniqueConstraint("kind", "user_id", "provider", postgresql_nulls_not_distinct=True),
    CheckConstraint(
        "kind IN ('user_wallet', 'psp_clearing', 'psp_fees', 'subscription_revenue', 'dispute_withheld', "
        "'dispute_contested', 'dispute_losses', 'dispute_fees', 'adjustments', 'bank')",
        name="kind_known",
    ),
    info={"writer": "gateway"},
)

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("event_id", BigInteger, ForeignKey("webhook_events.id")),
    Column("payment_id", BigInteger, ForeignKey("payments.id")),
    Column("subscription_id", BigInteger, ForeignKey("subscriptions.id")),
    created_at_column(),
    CheckConstraint(
        "kind IN ('payment', 'refund', 'refund_reversed', 'dispute_withheld', 'dispute_released', 'dispute_lost', "
        "'dispute_fee', 'activation', 'deactivation', 'adjustment', 'payout')",
        name="kind_known",
    ),
    # an event moves the money of a payment or a subscription once, whatever the code above believes
    Index(
        "uq_ledger_transactions_event",
        "event_id",
        "kind",
        "subscription_id",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("event_id IS NOT NULL"),
    ),
    Index(None, "payment_id"),
    Index(None, "subscription_id"),
    info={"writer": "gateway"},
)

# A positive amount is what the school owes the account's owner, a negative one what it is owed.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    id_column(),
    Column("transaction_id", BigInteger, ForeignKey("ledger_transactions.id"), nullable=False),
    Column("account_id", BigInteger, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    Index(None, "transaction_id"),
    Index(None, "account_id", "transaction_id"),
    info={"writer": "gateway"},
)

# A correction of a wallet that an operator asked for: the worker books it, once, with its subscriptions.
ledger_adjustments = Table(
    "ledger_adjustments",
    metadata,
    id_column(),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    # positive: the wallet gets it
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    # the payment that it corrects, where there is one
    Column("payment_id", BigInteger, ForeignKey("payments.id")),
    Column("reason", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    created_at_column(),
    Column("transaction_id", BigInteger, ForeignKey("ledger_transactions.id")),
    Column("booked_at", INSTANT),
    # why it was not booked, and will not be
    Column("refusal", Text),
    CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    Index(None, "user_id"),
    Index("ix_ledger_adjustments_due", "id", postgresql_where=text("booked_at IS NULL AND refusal IS NULL")),
    info={"writer": "gateway"},
)

# What a provider transferred to the school's bank, as an operator recorded it: the worker books it, once.
provider_payouts = Table(
    "provider_payouts",
    metadata,
    id_column(),
    Column("provider", Text, nullable=False),
    # the bank's reference of the transfer: it names the payout
    Column("reference", Text, nullable=False),
    # positive: the bank got it; negative: it came back to the provider
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("paid_on", Date, nullable=False),
    Column("actor_name", Text, nullable=False),
    created_at_column(),
    Column("transaction_id", BigInteger, ForeignKey("ledger_transactions.id")),
    Column("booked_at", INSTANT),
    # why it was not booked, and will not be
    Column("refusal", Text),
    CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    # one that was refused may be recorded again
    Index(
        "uq_provider_payouts_reference",
        "provider",
        "reference",
        unique=True,
        postgresql_where=text("refusal IS NULL"),
    ),
    Index("ix_provider_payouts_due", "id", postgresql_where=text("booked_at IS NULL AND refusal IS NULL")),
    info={"writer": "gateway"},
)

# A refund that an operator asked for: the worker begins it at its provider, once, and the provider's answer is booked.
refund_requests = Table(
    "refund_requests",
    metadata,
    id_column(),
    Column("idempotency_key", Text, nullable=False, unique=True),
    Column("payment_id", BigInteger, ForeignKey("payments.id"), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    created_at_column(),
    # sending: an attempt may have reached the provider; unknown: nobody knows, and a person has to check
    Column("state", Text, nullable=False, server_default="requested"),
    # why it is where it is, in words without personal data
    Column("note", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", INSTANT, nullable=False, server_default=text("now()")),
    # what the provider said was refunded before the attempt, where it makes a refund of every request
    Column("refunded_before_minor", BigInteger),
    # the provider's answer
    Column("event_id", BigInteger, ForeignKey("webhook_events.id")),
    CheckConstraint("state IN ('requested', 'sending', 'accepted', 'refused', 'unknown')", name="state_known"),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    Index(None, "payment_id"),
    Index("ix_refund_requests_due", "next_attempt_at", postgresql_where=text("state IN ('requested', 'sending')")),
    info={"writer": "gateway"},
)

# A chain: each digest is the SHA-256 of the one before it and of one row, so that no row and no seal can be changed,
# taken out or put in without all that follow.
seals = Table(
    "seals",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("what", Text, nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("sealed_at", INSTANT, nullable=False, server_default=text("now()")),
    UniqueConstraint("what", "row_id"),
    CheckConstraint("what IN ('event', 'account', 'transaction', 'act', 'version')", name="what_known"),
    CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    info={"writer": "gateway"},
)

# What of a payment or of an event's verdict was true and when: a digest for each state, written by triggers.
row_versions = Table(
    "row_versions",
    metadata,
    id_column(),
    Column("kind", Text, nullable=False),
    Column("row_id", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("recorded_at", INSTANT, nullable=False, server_default=text("now()")),
    CheckConstraint("kind IN ('payment', 'verdict', 'body')", name="kind_known"),
    Index("ix_row_versions_kind_row_id_id", "kind", "row_id", "id"),
    info={"writer": "gateway"},
)
