"""Tables of the transcoder: jobs, tasks, content keys."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import BIT, JSONB

from shared.schema.metadata import INSTANT, created_at_column, id_column, metadata

transcode_jobs = Table(
    "transcode_jobs",
    metadata,
    id_column(),
    Column("course_id", BigInteger, ForeignKey("courses.id"), nullable=False),
    Column("source_key", Text, nullable=False),
    # S3's name for the very bytes: the same key with other bytes is another upload
    Column("source_etag", Text, nullable=False),
    Column("source_bytes", BigInteger, nullable=False),
    # S3's time of the upload (Amazon takes the beginning of one in pieces): of two uploads for one course the later one
    # counts, whichever was reported first
    Column("uploaded_at", INSTANT, nullable=False),
    Column("state", Text, nullable=False, server_default="queued"),
    # why the job failed or was cancelled: one sentence that a teacher understands
    Column("reason", Text),
    # what the operator has to know of the same
    Column("detail", Text),
    # what a completed lesson lacks: a list of {code, text}, the text for the teacher
    Column("warnings", JSONB(none_as_null=True)),
    # the upload's chapters: a list of {start_seconds, title}
    Column("chapters", JSONB(none_as_null=True)),
    Column("plan", JSONB),
    # the name of the lesson's bytes: source, ladder and encoder; its objects are under hls/<course>/<content key>/
    Column("content_key", Text),
    # the build of ffmpeg that made the first byte; another one's bytes would not fit
    Column("encoder", Text),
    # whether the format had no index, so that it is put into another container before it is cut
    Column("rewrapped", Boolean, nullable=False, server_default=text("false")),
    Column("duration_seconds", Double),
    created_at_column(),
    Column("planned_at", INSTANT),
    # when a first picture could be watched, before the whole lesson
    Column("first_shown_at", INSTANT),
    Column("finished_at", INSTANT),
    # of its segments and stills, once it is completed
    Column("stored_bytes", BigInteger),
    # when the objects of a job that came to nothing were removed
    Column("cleaned_at", INSTANT),
    # when retention removed the upload
    Column("source_removed_at", INSTANT),
    # what the school asks through the API; the gateway writes it, and a worker takes it away when it is done
    Column("requested", Text),
    # when the school deleted what the job had made; the row stays, because the statistics count it
    Column("deleted_at", INSTANT),
    UniqueConstraint("course_id", "source_key", "source_etag"),
    CheckConstraint(
        "state IN ('queued', 'probing', 'encoding', 'publishing', 'completed', 'failed', 'cancelled')",
        name="state_known",
    ),
    CheckConstraint("requested IN ('cancel', 'retry', 'delete', 'captions')", name="requested_known"),
    Index("ix_transcode_jobs_requested", "id", postgresql_where=text("requested IS NOT NULL")),
    Index("ix_transcode_jobs_course_id", "course_id", "id"),
    Index("ix_transcode_jobs_active", "id", postgresql_where=text("finished_at IS NULL")),
    Index("ix_transcode_jobs_finished_at", "finished_at"),
    Index("ix_transcode_jobs_kept_sources", "finished_at", postgresql_where=text("source_removed_at IS NULL")),
    Index("ix_transcode_jobs_source_key", "source_key"),
    Index(
        "ix_transcode_jobs_uncleaned",
        "finished_at",
        "id",
        postgresql_where=text("state IN ('failed', 'cancelled') AND cleaned_at IS NULL"),
    ),
    info={"writer": "transcoder"},
)

# The text of one language, as plain WebVTT, sent by a teacher or carried by the upload;
# a worker makes a rendition of it.
captions = Table(
    "captions",
    metadata,
    Column("course_id", BigInteger, ForeignKey("courses.id"), primary_key=True),
    # BCP 47
    Column("language", Text, primary_key=True),
    Column("body", Text, nullable=False),
    # made by a machine, and not yet read by a person
    Column("automatic", Boolean, nullable=False, server_default=text("false")),
    # the job whose upload they came with or were made from; null where a person sent them
    Column("job_id", BigInteger),
    created_at_column(),
    Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
    info={"writer": "gateway"},
)

# What a person sent as the chapters of a course's lessons, in place of those of the upload; an empty list shows none.
course_chapters = Table(
    "course_chapters",
    metadata,
    Column("course_id", BigInteger, ForeignKey("courses.id"), primary_key=True),
    # in order: a list of {start_seconds, title}
    Column("chapters", JSONB, nullable=False),
    Column("updated_at", INSTANT, nullable=False, server_default=text("now()")),
    info={"writer": "gateway"},
)

# One row is what one worker does at one time. Anyone who moved `lease_until` into the future as `lease_owner` does it.
transcode_chunks = Table(
    "transcode_chunks",
    metadata,
    id_column(),
    Column("job_id", BigInteger, ForeignKey("transcode_jobs.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("lease_owner", Text),
    Column("lease_until", INSTANT),
    # when its message is sent (again); infinity: other parts come first
    Column("due_at", INSTANT, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # what went wrong last
    Column("error", Text),
    # seconds of the lesson that are made
    Column("done_seconds", Double, nullable=False, server_default=text("0")),
    Column("result", JSONB),
    Column("finished_at", INSTANT),
    UniqueConstraint("job_id", "kind", "number"),
    CheckConstraint("kind IN ('plan', 'first', 'video', 'audio', 'stills', 'publish', 'speech')", name="kind_known"),
    # only captions fail apart from their job
    CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state_known"),
    Index("ix_transcode_chunks_due", "due_at", postgresql_where=text("state <> 'done'")),
    info={"writer": "transcoder"},
)

# Apart from the jobs, because it is a secret: one role writes it, one more reads it, no other sees that it is there.
# It is not encrypted again: who reads this table as one of the two roles would find the key to it in their settings.
course_keys = Table(
    "course_keys",
    metadata,
    # what playlists name; nobody can guess one, and knowing one opens nothing
    Column("id", Text, primary_key=True),
    Column("course_id", BigInteger, ForeignKey("courses.id"), nullable=False),
    # what the lesson would be without a key: the same upload gets the same key again, and so the same bytes
    Column("content_key", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    created_at_column(),
    UniqueConstraint("course_id", "content_key"),
    CheckConstraint("octet_length(secret) = 16", name="secret_length"),
    info={"writer": "transcoder"},
)

# What a viewer played of a lesson on a day of the school's zone. Players report it, and the playback service writes it.
lesson_views = Table(
    "lesson_views",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    # as the signed address names them: the user's id. Erasure and retention put `~` and a random name in its place
    Column("viewer", Text, primary_key=True),
    # 0: which lesson it was is erased, and only that the user was there is left. No foreign key: a lesson may go
    Column("course_id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True),
    Column(
        "user_id",
        BigInteger,
        Computed("CASE WHEN viewer ~ '^[1-9][0-9]{0,17}$' THEN viewer::bigint END", persisted=True),
    ),
    # the lesson's chapter when the row was written, so that a move to another one changes no day before
    Column("chapter_id", BigInteger),
    # so much of the lesson, also what was played again
    Column("played_ms", BigInteger, nullable=False),
    # which hundredths of the lesson the viewer had played by then, on this day and before
    Column("parts", BIT(100), nullable=False),
    # the last report
    Column("last_at", INSTANT, nullable=False, server_default=text("now()")),
    CheckConstraint("played_ms BETWEEN 0 AND 86400000", name="played_ms_of_a_day"),
    # what retention reads
    Index("ix_lesson_views_named", "day", "viewer", postgresql_where=text("course_id <> 0 AND viewer NOT LIKE '~%'")),
    info={"writer": "playback"},
)
