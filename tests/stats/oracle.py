"""Every number of a day, counted again in plain Python from the definitions; it shares no code with the SQL.

A school is a dictionary of lists of dictionaries, one list a table. `ledger` has the entries of interest with what
their transaction says: at, kind, account, amount_minor, user_id, subscription_id, payment_id.
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
    reported = Day(school, day, zone, currency)
    found: dict[str, Any] = {}
    for section in (
        "revenue",
        "payments",
        "wallets",
        "subscriptions",
        "lessons",
        "attendance",
        "engagement",
        "users",
        "teachers",
        "content",
        "platform",
    ):
        for name, value in getattr(reported, section)().items():
            if value is not None:
                found[f"{section}.{name}"] = value
    return found


class Day(Money):
    """One day of one school."""

    # -- who was there

    def active(self, day: date) -> set[int]:
        traces = (("attendances", "checked_in_at"), ("payments", "completed_at"))
        came = {
            row["user_id"] for table, column in traces for row in self.school[table] if self.within(row[column], day)
        }
        # a viewer who is no user of the school's is nobody
        watched = {view["viewer"] for view in self.school["lesson_views"] if view["day"] == day}
        return came | {user["id"] for user in self.school["users"] if str(user["id"]) in watched}

    def lessons(self) -> Row:
        # lesson 0 is what is left of an erased one
        views = [view for view in self.school["lesson_views"] if view["day"] == self.day and view["course_id"]]
        finished = [view for view in views if view["parts"].count("1") >= 90]
        found: Row = {
            "watched": len(views),
            "viewers": len({view["viewer"] for view in views}),
            "watch_time": sum(view["played_ms"] for view in views),
            "finished": len(finished),
            "completion": ratio(len(finished), len(views), 10_000),
        }
        for name in ("course", "chapter"):
            key = f"{name}_id"
            found[f"by_{name}"] = count(view[key] for view in views)
            found[f"finished_by_{name}"] = count(view[key] for view in finished)
            found[f"watch_time_by_{name}"] = add_up((view[key], view["played_ms"]) for view in views)
        return found

    def users(self) -> Row:
        known = self.rows("users", "created_at", self.by_end)
        return {
            "total": len(known),
            "new": len(self.rows("users", "created_at")),
            "active": len(self.active(self.day)),
            "by_role": count(user["role"] for user in known),
            "by_year": count(user["year_of_study"] for user in known),
        }

    def teachers(self) -> Row:
        known = self.rows("teachers", "created_at", self.by_end)
        taught = {session["teacher_id"] for session in self.rows("sessions", "starts_at")} - {None}
        return {
            "total": len(known),
            "new": len(self.rows("teachers", "created_at")),
            "active": len(taught),
            "own": len(self._own_teachers()),
            "regular": len(self._regular_teachers()),
            "by_specialisation": count(teacher["specialisation"] for teacher in known),
        }

    def _own_teachers(self) -> set[int]:
        """Who taught a chapter that was theirs."""
        return {
            session["teacher_id"]
            for session in self.rows("sessions", "starts_at")
            if session["teacher_id"] is not None
            and session["teacher_id"] == self.teacher_of(session["chapter_id"], session["starts_at"])
        }

    def _regular_teachers(self) -> set[int]:
        """Who taught in every one of the last four weeks."""
        weeks: list[set[int]] = [set() for _ in range(4)]
        for session in self.school["sessions"]:
            ago = (self.day - self.local(session["starts_at"])).days
            if 0 <= ago < 28:
                weeks[ago // 7].add(session["teacher_id"])
        return set.intersection(*weeks) - {None}

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
        yesterday = self.day - timedelta(days=1)
        today = self.rows("attendances", "checked_in_at")
        before = [row for row in self.school["attendances"] if self.within(row["checked_in_at"], yesterday)]
        visits = {(row["session_id"], row["user_id"]) for row in today}
        visits -= {(row["session_id"], row["user_id"]) for row in before}
        held = {row["session_id"] for row in today} - {row["session_id"] for row in before}
        chapter_of = {session["id"]: session["chapter_id"] for session in self.school["sessions"]}
        planned = self.rows("sessions", "starts_at")
        subscribed = [chapter for (_, chapter), _ in self.running().items()]
        expected = sum(
            subscribed.count(session["chapter_id"]) for session in planned if session["chapter_id"] is not None
        )
        return {
            "check_ins": len(visits),
            "attendees": len({row["user_id"] for row in today}),
            "sessions_planned": len(planned),
            "sessions_held": len(held),
            "mean_per_session": ratio(len(visits), len(held), 100),
            "expected": expected,
            "attendance_rate": ratio(len(visits), expected, 10_000),
            "by_chapter": count(chapter_of[session] for session, _ in visits),
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
        # the last of these is of 30 days before
        payers = {row["user_id"] for row in self.rows("payments", "completed_at", self.by_end)}
        found["converted_30"] = len(cohort & payers)
        registered = {user["id"]: self.local(user["created_at"]) for user in self.school["users"]}
        had_30_days = {user for user, day in registered.items() if 30 <= (self.day - day).days <= 59}
        paid_in_time = {
            row["user_id"]
            for row in self.school["payments"]
            if row["completed_at"] and (self.local(row["completed_at"]) - registered[row["user_id"]]).days <= 30
        }
        found["conversion_30"] = ratio(len(had_30_days & paid_in_time), len(had_30_days), 10_000)
        return found
