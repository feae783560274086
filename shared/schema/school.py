"""The school's own tables: its application writes them, Nouba reads them and keeps three columns.

Nouba writes `users.balance_minor` and a subscription's activation (the gateway), and the video columns of `courses`
(the transcoder; the gateway marks a complete upload as pending).
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, SmallInteger, Table, Text, text

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

users = Table(
    "users",
    metadata,
    id_column(),
    Column("name", Text, nullable=False, server_default=""),
    Column("email", Text),
    Column("phone", Text),
    Column("role", Text, nullable=False, server_default="student"),
    Column("year_of_study", Text),
    # the sum of the user's ledger entries, and nothing else
    Column("balance_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("last_login_at", INSTANT),
    created_at_column(),
    Index("ix_users_created_at", "created_at"),
    info={"writer": "school"},
)

teachers = Table(
    "teachers",
    metadata,
    id_column(),
    Column("user_id", BigInteger, ForeignKey("users.id")),
    Column("name", Text, nullable=False, server_default=""),
    Column("specialisation", Text),
    created_at_column(),
    info={"writer": "school"},
)

chapters = Table(
    "chapters",
    metadata,
    id_column(),
    Column("title", Text, nullable=False, server_default=""),
    Column("teacher_id", BigInteger, ForeignKey("teachers.id")),
    Column("year_target", Text),
    Column("price_minor", BigInteger, nullable=False, server_default=text("0")),
    created_at_column(),
    info={"writer": "school"},
)

courses = Table(
    "courses",
    metadata,
    id_column(),
    Column("chapter_id", BigInteger, ForeignKey("chapters.id")),
    Column("title", Text, nullable=False, server_default=""),
    Column("video_ref", Text),
    Column("transcoding_status", Text),
    Column("pdf_summary", Text),
    created_at_column(),
    CheckConstraint(
        "transcoding_status IN ('pending', 'processing', 'completed', 'failed')", name="transcoding_status_known"
    ),
    info={"writer": "school"},
)

subscriptions = Table(
    "subscriptions",
    metadata,
    id_column(),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("chapter_id", BigInteger, ForeignKey("chapters.id")),
    Column("amount_minor", BigInteger, nullable=False),
    Column("status", Text, nullable=False, server_default="pending_payment"),
    Column("access_level", Text),
    Column("activated_at", INSTANT),
    Column("ends_at", INSTANT),
    # the end that the gateway set when it activated the subscription, and takes away where it gives the money back
    Column("granted_until", INSTANT),
    created_at_column(),
    CheckConstraint("status IN ('pending_payment', 'active', 'expired', 'cancelled')", name="status_known"),
    CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    Index(None, "user_id", "status"),
    Index(
        "ix_subscriptions_pending", "user_id", "created_at", "id", postgresql_where=text("status = 'pending_payment'")
    ),
    Index("ix_subscriptions_pending_id", "id", postgresql_where=text("status = 'pending_payment'")),
    Index("ix_subscriptions_active_ends_at", "ends_at", postgresql_where=text("status = 'active'")),
    Index(
        "ix_subscriptions_terms",
        "chapter_id",
        "ends_at",
        postgresql_include=("activated_at", "id", "user_id", "access_level"),
        postgresql_where=text("status <> 'pending_payment'"),
    ),
    Index(
        "brin_subscriptions_ends_at",
        "ends_at",
        "activated_at",
        postgresql_using="brin",
        postgresql_ops={"ends_at": "timestamptz_minmax_multi_ops"},
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    ),
    info={"writer": "school"},
)

sessions = Table(
    "sessions",
    metadata,
    id_column(),
    Column("chapter_id", BigInteger, ForeignKey("chapters.id")),
    Column("teacher_id", BigInteger, ForeignKey("teachers.id")),
    Column("starts_at", INSTANT, nullable=False),
    Column("duration_minutes", SmallInteger),
    created_at_column(),
    info={"writer": "school"},
)

# What the school takes at its office: cash, transfers, cheques. A negative amount was given back there. No wallet is
# credited for it: an operator's correction does that, where the school wants it.
office_payments = Table(
    "office_payments",
    metadata,
    id_column(),
    Column("user_id", BigInteger, ForeignKey("users.id")),
    Column("method", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False, server_default="DZD"),
    Column("received_at", INSTANT, nullable=False, server_default=text("now()")),
    CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    info={"writer": "school"},
)

attendances = Table(
    "attendances",
    metadata,
    id_column(),
    Column("session_id", BigInteger, ForeignKey("sessions.id"), nullable=False),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("checked_in_at", INSTANT, nullable=False),
    info={"writer": "school"},
)
