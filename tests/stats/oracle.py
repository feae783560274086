"""Every number of a day, counted again in plain Python from the definitions; it shares no code with the SQL.

A school is a dictionary of lists of dictionaries, one list a table. `ledger` has the entries of interest with what
their transaction says: at, account, amount_minor, user_id, subscription_id.
"""

import math
from datetime import date, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from tests.stats.oracle_day import Row, School, add_up, count, half_up, ratio
from tests.stats.oracle_money import Money


def numbers(school: School, day: date, zone: ZoneInfo, currency: str) -> dict[str, Any]:
    """The numbers of `day` by id."""
    told = Day(school, day, zone, currency)
    found: dict[str, Any] = {}
    for section in (
        "users",
        "teachers",
        "content",
        "payments",
        "subscriptions",
        "attendance",
        "platform",
        "engagement",
    ):
        for name, value in getattr(told, section)().items():
            if value is not None:
                found[f"{section}.{name}"] = value
    return found


class Day(Money):
    """One day of one school."""

    # -- who was there

    def active(self, day: date) -> set[int]:
        traces = (("attendances", "checked_in_at"), ("payments", "created_at"), ("subscriptions", "created_at"))
        return {
            row["user_id"] for table, column in traces for row in self.school[table] if self.within(row[column], day)
        }

    def users(self) -> Row:
        known = self.rows("users", "created_at", self.by_end)
        held = sum(
            entry["amount_minor"]
            for entry in self.rows("ledger", "at", self.by_end)
            if entry["account"] == "user_wallet"
        )
        return {
            "total": len(known),
            "new": len(self.rows("users", "created_at")),
            "active": len(self.active(self.day)),
            "by_role": count(user["role"] for user in known),
            "by_year": count(user["year_of_study"] for user in known),
            "balance_total": held,
            "balance_mean": ratio(held, len(known)),
        }

    def teachers(self) -> Row:
        known = self.rows("teachers", "created_at", self.by_end)
        teacher_of = {chapter["id"]: chapter["teacher_id"] for chapter in self.school["chapters"]}
        chapter_of = {each["id"]: each["chapter_id"] for each in self.school["subscriptions"]}
        revenue = [
            (teacher_of.get(chapter_of[entry["subscription_id"]]), entry["amount_minor"])
            for entry in self.rows("ledger", "at")
            if entry["account"] == "subscription_revenue"
        ]
        revenue = [pair for pair in revenue if pair[0] is not None]
        taught = {session["teacher_id"] for session in self.rows("sessions", "starts_at")} - {None}
        return {
            "total": len(known),
            "new": len(self.rows("teachers", "created_at")),
            "active": len(taught),
            "by_specialisation": count(teacher["specialisation"] for teacher in known),
            "revenue": sum(amount for _, amount in revenue),
            "revenue_by_teacher": add_up(revenue),
        }

    def content(self) -> Row:
        chapters = self.rows("chapters", "created_at", self.by_end)
        courses = self.rows("courses", "created_at", self.by_end)
        return {
            "chapters": len(chapters),
            "chapters_new": len(self.rows("chapters", "created_at")),
            "chapters_by_year": count(chapter["year_target"] for chapter in chapters),
            "courses": len(courses),
            "courses_new": len(self.rows("courses", "created_at")),
            "courses_with_video": sum(course["video_ref"] is not None for course in courses),
            "courses_with_pdf": sum(course["pdf_summary"] is not None for course in courses),
            "videos_by_status": count(
                course["transcoding_status"] for course in courses if course["transcoding_status"] is not None
            ),
            **self._videos(),
        }

    def _videos(self) -> Row:
        jobs = self.school["transcode_jobs"]
        completed = [job for job in jobs if job["state"] == "completed" and self.by_end(job["finished_at"])]
        shown = {
            job["course_id"]: job for job in sorted(completed, key=lambda job: (job["finished_at"], job["id"]))
        }.values()
        stored = [sum(sizes) for job in shown for kind, sizes in job["parts"] if kind in ("video", "audio", "stills")]
        ended = [job for job in jobs if self.within(job["finished_at"])]
        took = sorted(
            (job["finished_at"] - job["created_at"]) // timedelta(milliseconds=1)
            for job in ended
            if job["state"] == "completed"
        )
        times = {}
        if took:
            half, most = (took[math.ceil(share * len(took)) - 1] for share in (Fraction(1, 2), Fraction(95, 100)))
            times = {"transcode_p50": half, "transcode_p95": most, "transcode_max": took[-1]}
        return {
            "videos": len(shown),
            "video_minutes": ratio(sum(round(job["duration_seconds"] * 1000) for job in shown), 60_000),
            "video_bytes": sum(stored),
            "uploaded_bytes": sum(job["source_bytes"] for job in jobs if self.within(job["created_at"])),
            "transcodings": count(job["state"] for job in ended),
            **times,
        }

    # -- attendance and platform

    def attendance(self) -> Row:
        check_ins = self.rows("attendances", "checked_in_at")
        chapter_of = {session["id"]: session["chapter_id"] for session in self.school["sessions"]}
        held = {row["session_id"] for row in check_ins}
        return {
            "check_ins": len(check_ins),
            "attendees": len({row["user_id"] for row in check_ins}),
            "sessions_planned": len(self.rows("sessions", "starts_at")),
            "sessions_held": len(held),
            "mean_per_session": ratio(len(check_ins), len(held), 100),
            "by_chapter": count(chapter_of[row["session_id"]] for row in check_ins),
        }

    def platform(self) -> Row:
        received = self.rows("webhook_events", "received_at")
        finished = [row for row in self.rows("webhook_events", "processed_at") if row["state"] != "received"]
        return {
            "webhooks": len(received),
            "webhooks_by_provider": count(event["provider"] for event in received),
            "webhooks_unsigned": sum(not event["signed"] for event in received),
            "jobs_done": sum(event["state"] in ("applied", "ignored") for event in finished),
            "jobs_quarantined": sum(event["state"] == "quarantined" for event in finished),
            "jobs_dead": sum(event["state"] == "dead" for event in finished),
            "jobs_retried": sum(event["attempts"] for event in finished),
            "messages_dead": count(letter["queue"] for letter in self.rows("dead_letters", "died_at")),
        }

    # -- engagement

    def engagement(self) -> Row:
        back = [self.active(self.day - timedelta(days=number)) for number in range(30)]
        monthly = len(set().union(*back))
        found: Row = {
            "daily": len(back[0]),
            "weekly": len(set().union(*back[:7])),
            "monthly": monthly,
            "stickiness": half_up(Fraction(sum(map(len, back)), 30) / monthly * 10_000) if monthly else None,
        }
        for age in (1, 7, 30):
            cohort = {
                user["id"]
                for user in self.school["users"]
                if self.within(user["created_at"], self.day - timedelta(days=age))
            }
            found[f"cohort_{age}"] = len(cohort)
            found[f"retained_{age}"] = len(cohort & back[0])
            found[f"retention_{age}"] = ratio(len(cohort & back[0]), len(cohort), 10_000)
        return found
