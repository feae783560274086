"""The queries that find the rows of numbers, by number."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.stats.sections import ledger_movements
from services.stats.sections.active_users import AGES
from services.stats.sections.lessons import FINISHED_PARTS


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows of one table, each of which has a time of its own."""

    table: str
    at: str
    where: str = "true"
    key: str = "NULL"
    value: str = "1"
    user: str = "NULL"
    #: All until the day's end count, and not the day's alone.
    to_date: bool = False

    def sql(self) -> str:
        begins = "" if self.to_date else f"{self.at} >= %(begins_at)s AND "
        return (
            f"SELECT '{self.table}' AS source, id, 0 AS transaction_id,"  # noqa: S608
            f" {self.user} AS user_id, {self.at} AS at, {self.key} AS key, "
            f"{self.value} AS amount, NULL AS chapter FROM {self.table} "
            f"WHERE {begins}{self.at} < %(ends_at)s AND {self.where}"
            # a day's rows are few beside all those that are in the order of their ids
            f"{'' if self.to_date else ' OFFSET 0'}"
        )


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries of the ledger, by what `ledger` calls them."""

    what: tuple[str, ...]
    sign: int = 1
    key: str = "NULL"
    to_date: bool = False
    #: Leave out transactions whose entries of the number net to zero.
    nets: bool = False

    def sql(self, entries: str = ledger_movements.ENTRIES) -> str:
        names = ", ".join(f"'{one}'" for one in self.what)
        found = f"SELECT * FROM ({entries}) AS moved WHERE what IN ({names})"  # noqa: S608
        if self.nets:
            net = "SELECT *, sum(amount_minor) OVER (PARTITION BY transaction_id) AS net"
            found = f"SELECT * FROM ({net} FROM ({found}) AS chosen) AS summed WHERE net <> 0"  # noqa: S608
        return (
            f"SELECT 'ledger_entries' AS source, id, transaction_id, user_id, at, {self.key} AS key, "  # noqa: S608
            f"{self.sign} * amount_minor AS amount, chapter_id AS chapter FROM ({found}) AS found"
        )


@dataclass(frozen=True, slots=True)
class Written:
    """A query that stands for itself; it may read so many days back."""

    text: str
    days_back: int = 0
    #: It reads the users after one and until another.
    by_user: bool = False

    def sql(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Balances(Written):
    """Wallets at the day's end, which the text calls `{held}`, and how much each holds or lacks: `size`."""

    #: They are below zero, and the rows say since when and by what.
    are_debts: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """The rows of several sources. Two of one id stay on one page."""

    parts: tuple[Facts | Entries, ...]

    def sql(self) -> str:
        return " UNION ALL ".join(part.sql() for part in self.parts)


_ours, _open = "currency = %(currency)s", "status IN ('pending', 'authorized')"
_started = Facts("payments", "created_at", user="user_id")
_completed = Facts("payments", "completed_at", _ours, user="user_id")
_users = Facts("users", "created_at", user="id", to_date=True)
_teachers = Facts("teachers", "created_at", to_date=True)
_chapters, _courses = Facts("chapters", "created_at", to_date=True), Facts("courses", "created_at", to_date=True)
_received = Facts("webhook_events", "received_at")
_finished = Facts("webhook_events", "processed_at", "state <> 'received'")
_bought = Facts("subscriptions", "created_at", user="user_id", to_date=True)

_CAME = """
SELECT 'users' AS source, user_id AS id, user_id, min(at) AS at, NULL AS key, 1 AS amount FROM (
    SELECT user_id, checked_in_at AS at FROM attendances
    WHERE checked_in_at >= %(since)s AND checked_in_at < %(ends_at)s AND user_id > %(after)s AND user_id <= %(until)s
    UNION ALL
    SELECT user_id, completed_at FROM payments
    WHERE completed_at >= %(since)s AND completed_at < %(ends_at)s AND user_id > %(after)s AND user_id <= %(until)s
    UNION ALL
    SELECT users.id, last_at FROM lesson_views JOIN users ON users.id = lesson_views.user_id
    WHERE lesson_views.day >= %(since_day)s AND lesson_views.day <= %(day)s
      AND lesson_views.user_id > %(after)s AND lesson_views.user_id <= %(until)s
) AS came GROUP BY user_id
"""
_REGISTERED = """
SELECT 'users' AS source, id, id AS user_id, created_at AS at, NULL AS key, 1 AS amount FROM users
WHERE created_at >= %(since)s AND created_at < %(since_ends)s
"""
_RETAINED = f"""
SELECT * FROM ({_REGISTERED}) AS cohort WHERE id IN (
    SELECT user_id FROM attendances WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s
    UNION ALL
    SELECT user_id FROM payments WHERE completed_at >= %(begins_at)s AND completed_at < %(ends_at)s
    UNION ALL
    SELECT user_id FROM lesson_views WHERE day = %(day)s)
"""  # noqa: S608
_VISITS = """
SELECT 'attendances' AS source, min(came.id) AS id, came.user_id, min(came.checked_in_at) AS at,
       session.chapter_id AS key, 1 AS amount
FROM attendances AS came JOIN sessions AS session ON session.id = came.session_id
WHERE came.checked_in_at >= %(begins_at)s AND came.checked_in_at < %(ends_at)s AND NOT EXISTS (
    SELECT FROM attendances AS before
    WHERE before.session_id = came.session_id AND before.user_id = came.user_id
      AND before.checked_in_at >= %(day_before)s AND before.checked_in_at < %(begins_at)s)
GROUP BY came.session_id, came.user_id, session.chapter_id
"""
_HELD = """
SELECT 'sessions' AS source, session_id AS id, NULL AS user_id, min(checked_in_at) AS at, NULL AS key, 1 AS amount
FROM attendances AS came WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s AND NOT EXISTS (
    SELECT FROM attendances AS before WHERE before.session_id = came.session_id
      AND before.checked_in_at >= %(day_before)s AND before.checked_in_at < %(begins_at)s)
GROUP BY session_id
"""
_TAUGHT = """
SELECT 'teachers' AS source, teacher_id AS id, NULL AS user_id, min(starts_at) AS at, NULL AS key, 1 AS amount
FROM sessions WHERE starts_at >= %(begins_at)s AND starts_at < %(ends_at)s AND teacher_id IS NOT NULL
GROUP BY teacher_id
"""
_OWN_TEACHERS = """
SELECT 'teachers' AS source, held.teacher_id AS id, NULL AS user_id, min(held.starts_at) AS at, NULL AS key, 1 AS amount
FROM sessions AS held
LEFT JOIN chapters AS chapter ON chapter.id = held.chapter_id
LEFT JOIN (
    SELECT chapter_id, teacher_id, since,
           coalesce(lead(since) OVER (PARTITION BY chapter_id ORDER BY since), 'infinity') AS until
    FROM chapter_teachers
) AS taught ON taught.chapter_id = held.chapter_id AND held.starts_at >= taught.since AND held.starts_at < taught.until
WHERE held.starts_at >= %(begins_at)s AND held.starts_at < %(ends_at)s
  AND held.teacher_id = CASE WHEN taught.chapter_id IS NULL THEN chapter.teacher_id ELSE taught.teacher_id END
GROUP BY held.teacher_id
"""
_REGULAR = """
SELECT 'teachers' AS source, teacher_id AS id, NULL AS user_id, max(starts_at) AS at, NULL AS key, 1 AS amount
FROM sessions WHERE starts_at >= %(since)s AND starts_at < %(ends_at)s AND teacher_id IS NOT NULL
GROUP BY teacher_id HAVING count(DISTINCT width_bucket(starts_at, %(weeks)s)) = 4
"""
_CONVERTED = f"""
SELECT * FROM ({_REGISTERED}) AS cohort WHERE EXISTS (
    SELECT FROM payments AS paid WHERE paid.user_id = cohort.id AND paid.completed_at < %(ends_at)s)
"""  # noqa: S608
_EXPIRED = """
SELECT 'subscriptions' AS source, one.id, one.user_id, least(one.ends_at, kept.stopped_at) AS at, NULL AS key,
       1 AS amount
FROM subscriptions AS one
LEFT JOIN subscription_terms AS kept ON kept.subscription_id = one.id AND kept.activated_at = one.activated_at
WHERE one.status <> 'pending_payment' AND one.activated_at < %(ends_at)s
  AND (one.ends_at IS NOT NULL OR kept.stopped_at IS NOT NULL OR one.status = 'active')
  AND least(one.ends_at, kept.stopped_at) > one.activated_at AND least(one.ends_at, kept.stopped_at) < %(ends_at)s
"""
_WATCHED = """
SELECT 'lesson_views' AS source, id, user_id, last_at AS at, {key} AS key, {value} AS amount FROM lesson_views
WHERE day = %(day)s AND course_id <> 0 AND {where}
"""
_VIEWERS = """
SELECT 'lesson_views' AS source, min(id) AS id, min(user_id) AS user_id, max(last_at) AS at, NULL AS key, 1 AS amount
FROM lesson_views WHERE day = %(day)s AND course_id <> 0 GROUP BY viewer
"""
_ATTENDEES = """
SELECT 'users' AS source, user_id AS id, user_id, min(checked_in_at) AS at, NULL AS key, 1 AS amount
FROM attendances WHERE checked_in_at >= %(begins_at)s AND checked_in_at < %(ends_at)s GROUP BY user_id
"""
_BALANCES = """
SELECT 'users' AS source, id, id AS user_id, NULL::timestamptz AS at, NULL AS key, {value} AS amount,
       abs(balance) AS size
FROM ({{held}}) AS held WHERE {where}
"""
# one row a payment; disputes are few. OFFSET 0 and LATERAL keep the planner from reading all entries or transactions
_DISPUTES_OPEN = """
SELECT CASE WHEN payment_id IS NULL THEN 'ledger_entries' ELSE 'payments' END AS source,
       coalesce(payment_id, min(withheld.id)) AS id, payment.user_id, payment.provider AS key,
       max(withheld.at) FILTER (WHERE withheld.amount_minor > 0) AS at, sum(withheld.amount_minor) AS amount
FROM (
    SELECT entry.id, entry.amount_minor, booked.payment_id, booked.created_at AS at,
           CASE WHEN booked.payment_id IS NULL THEN entry.id END AS alone
    FROM unnest(%(withheld)s::bigint[]) AS account (id)
    CROSS JOIN LATERAL (
        SELECT id, transaction_id, amount_minor FROM ledger_entries
        WHERE account_id = account.id AND currency = %(currency)s OFFSET 0
    ) AS entry
    CROSS JOIN LATERAL (
        SELECT payment_id, created_at FROM ledger_transactions WHERE id = entry.transaction_id OFFSET 0
    ) AS booked
    WHERE booked.created_at < %(ends_at)s
) AS withheld
LEFT JOIN payments AS payment ON payment.id = withheld.payment_id
GROUP BY payment_id, alone, payment.user_id, payment.provider HAVING sum(withheld.amount_minor) <> 0
"""

# A transcoding is what its lesson shows until the next one of the lesson is completed.
_SHOWN = """
SELECT 'transcode_jobs' AS source, id, NULL AS user_id, finished_at AS at, course_id AS key, {value} AS amount FROM (
    SELECT DISTINCT ON (course_id) id, course_id, finished_at, stored_bytes FROM transcode_jobs
    WHERE state = 'completed' AND finished_at < %(ends_at)s ORDER BY course_id, finished_at DESC, id DESC
) AS job
"""
_BYTES = """coalesce(stored_bytes, (
    SELECT sum(size::bigint) FROM transcode_chunks, jsonb_each_text(result -> 'files') AS file (name, size)
    WHERE job_id = job.id AND kind IN ('video', 'audio', 'stills')), 0)"""
_office = Facts("office_payments", "received_at", f"{_ours} AND amount_minor > 0", value="amount_minor", user="user_id")
_net = Entries(("billed", "returned"))
_topped_up = Entries(("topped_up",))
_fees = Entries(("fees",), -1, key="account_provider")
_finished_lesson = f"bit_count(parts) >= {FINISHED_PARTS}"


def _watched(key: str, value: str = "1", where: str = "true") -> Written:
    """Lessons that viewers watched; of a total, the key is the lesson."""
    return Written(_WATCHED.format(key=key, value=value, where=where))


#: The query of each number that is a sum of rows of the database.
SOURCES: Mapping[str, Facts | Entries | Together | Written] = {
    "revenue.net": _net,
    "revenue.billed": Entries(("billed",)),
    "revenue.returned": Entries(("returned",), -1),
    "revenue.net_to_date": replace(_net, to_date=True),
    "revenue.by_chapter": replace(_net, key="chapter_id"),
    "revenue.by_teacher": replace(_net, key="teacher_id"),
    "payments.cash_in": Together((_topped_up, _office)),
    "payments.office": _office,
    "payments.office_by_method": replace(_office, key="method"),
    "payments.office_returned": replace(_office, where=f"{_ours} AND amount_minor < 0", value="-amount_minor"),
    "payments.clearing_by_provider": Entries(("clearing",), -1, key="account_provider", to_date=True),
    "payments.topped_up": replace(_topped_up, key="provider"),
    "payments.topped_up_by_provider": replace(_topped_up, key="provider"),
    "payments.topped_up_by_method": replace(_topped_up, key="method"),
    "payments.topped_up_to_date": replace(_topped_up, to_date=True),
    "payments.refunded": Entries(("refunded",), -1, key="provider"),
    "payments.charged_back": Entries(("disputed", "withheld"), -1, key="provider", nets=True),
    "payments.disputes_open": Written(_DISPUTES_OPEN),
    "payments.fees": _fees,
    "payments.fees_by_provider": _fees,
    "payments.clearing": Entries(("clearing",), -1, key="account_provider", to_date=True),
    "payments.paid_out": Entries(("paid_out",), -1, key="account_provider"),
    "payments.started": _started,
    "payments.started_by_status": replace(_started, key="status"),
    "payments.started_by_method": replace(_started, key="method"),
    "payments.pending": replace(_started, where=_open),
    "payments.failed": replace(_started, where="status = 'failed'"),
    "payments.failure_reasons": replace(_started, where="status = 'failed'", key="failure_reason"),
    "payments.completed": _completed,
    "payments.completed_by_provider": replace(_completed, key="provider"),
    "payments.completed_by_method": replace(_completed, key="method"),
    "payments.completed_to_date": replace(_completed, to_date=True),
    "payments.other_currency": replace(_completed, where=f"NOT {_ours}"),
    "payments.credited": replace(_finished, where="state = 'applied' AND payment_id IS NOT NULL"),
    "wallets.total": Entries(ledger_movements.OF_WALLETS, to_date=True),
    "wallets.adjusted": Entries(("adjusted",)),
    "wallets.credit": Balances(_BALANCES.format(value="balance", where="balance > 0")),
    "wallets.debt": Balances(_BALANCES.format(value="-balance", where="balance < 0"), are_debts=True),
    "wallets.debtors": Balances(_BALANCES.format(value="1", where="balance < 0"), are_debts=True),
    "subscriptions.total": _bought,
    "subscriptions.new": replace(_bought, to_date=False),
    "subscriptions.expired": Written(_EXPIRED),
    "subscriptions.pending": replace(_bought, where="status = 'pending_payment'"),
    "lessons.viewers": Written(_VIEWERS),
    "lessons.watched": _watched("course_id"),
    "lessons.by_course": _watched("course_id"),
    "lessons.by_chapter": _watched("chapter_id"),
    "lessons.finished": _watched("course_id", where=_finished_lesson),
    "lessons.finished_by_course": _watched("course_id", where=_finished_lesson),
    "lessons.finished_by_chapter": _watched("chapter_id", where=_finished_lesson),
    "lessons.watch_time": _watched("course_id", "played_ms"),
    "lessons.watch_time_by_course": _watched("course_id", "played_ms"),
    "lessons.watch_time_by_chapter": _watched("chapter_id", "played_ms"),
    "attendance.check_ins": Written(_VISITS),
    "attendance.by_chapter": Written(_VISITS),
    "attendance.attendees": Written(_ATTENDEES),
    "attendance.sessions_planned": Facts("sessions", "starts_at", key="NULL"),
    "attendance.sessions_held": Written(_HELD),
    "teachers.active": Written(_TAUGHT),
    "teachers.own": Written(_OWN_TEACHERS),
    "teachers.regular": Written(_REGULAR, 27),
    "engagement.daily": Written(_CAME, by_user=True),
    "engagement.weekly": Written(_CAME, 6, by_user=True),
    "engagement.monthly": Written(_CAME, 29, by_user=True),
    **{f"engagement.cohort_{age}": Written(_REGISTERED, age) for age in AGES},
    **{f"engagement.retained_{age}": Written(_RETAINED, age) for age in AGES},
    "engagement.converted_30": Written(_CONVERTED, 30),
    "users.active": Written(_CAME, by_user=True),
    "users.total": _users,
    "users.new": replace(_users, to_date=False),
    "users.by_role": replace(_users, key="role"),
    "users.by_year": replace(_users, key="year_of_study"),
    "teachers.total": _teachers,
    "teachers.new": replace(_teachers, to_date=False),
    "teachers.by_specialisation": replace(_teachers, key="specialisation"),
    "content.chapters": _chapters,
    "content.chapters_new": replace(_chapters, to_date=False),
    "content.chapters_by_year": replace(_chapters, key="year_target"),
    "content.courses": _courses,
    "content.courses_new": replace(_courses, to_date=False),
    "content.courses_with_video": replace(_courses, where="video_ref IS NOT NULL"),
    "content.courses_with_pdf": replace(_courses, where="pdf_summary IS NOT NULL"),
    "content.videos_by_status": replace(_courses, where="transcoding_status IS NOT NULL", key="transcoding_status"),
    "content.videos": Written(_SHOWN.format(value="1")),
    "content.video_bytes": Written(_SHOWN.format(value=_BYTES)),
    "content.uploaded_bytes": Facts("transcode_jobs", "created_at", value="source_bytes"),
    "content.transcodings": Facts("transcode_jobs", "finished_at", key="state"),
    "platform.webhooks": _received,
    "platform.webhooks_by_provider": replace(_received, key="provider"),
    "platform.webhooks_unsigned": replace(_received, where="NOT signed"),
    "platform.jobs_done": replace(_finished, where="state IN ('applied', 'ignored')"),
    "platform.jobs_quarantined": replace(_finished, where="state = 'quarantined'"),
    "platform.jobs_dead": replace(_finished, where="state = 'dead'"),
    "platform.messages_dead": Facts("dead_letter_times", "died_at", key="queue"),
    "platform.jobs_retried": replace(_finished, value="attempts"),
}
