"""The oracle's numbers about payments, wallets and revenue."""

import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction

from tests.stats.oracle_day import Row, add_up, count, ratio
from tests.stats.oracle_terms import Terms

_DAY, _MILLISECOND = timedelta(days=1), timedelta(milliseconds=1)
COLLECTED = ("completed", "partially_refunded", "refunded", "disputed", "charged_back")


class Money(Terms):
    """What a day's payments, wallets and sales bring."""

    def payments(self) -> Row:
        begun = self.rows("payments", "created_at")
        ended = self.rows("payments", "completed_at")
        done = [payment for payment in ended if payment["currency"] == self.currency]
        ever = self.rows("payments", "completed_at", self.by_end)
        decided = [payment for payment in begun if payment["status"] not in ("pending", "authorized")]
        return {
            **self._booked(),
            "started": len(begun),
            "started_by_status": count(payment["status"] for payment in begun),
            "started_by_method": count(payment["method"] for payment in begun),
            "pending": len(begun) - len(decided),
            "failed": sum(payment["status"] == "failed" for payment in begun),
            "failure_reasons": count(each["failure_reason"] for each in begun if each["status"] == "failed"),
            "success_rate": ratio(sum(each["status"] in COLLECTED for each in decided), len(decided), 10_000),
            "completed": len(done),
            "mean": ratio(sum(payment["amount_minor"] for payment in done), len(done)),
            "completed_by_provider": count(payment["provider"] for payment in done),
            "completed_by_method": count(payment["method"] for payment in done),
            "completed_to_date": sum(payment["currency"] == self.currency for payment in ever),
            "other_currency": len(ended) - len(done),
            **self._credited(),
        }

    def _booked(self) -> Row:
        """Money that moved, on the day on which the ledger has it; not when a payment says that it was paid."""
        payments = {payment["id"]: payment for payment in self.school["payments"]}
        top_ups = [entry for entry in self._wallet_entries("payment") if entry["amount_minor"] > 0]
        # refunds had no kind of their own once: they are payments the other way
        refunds = [entry for entry in self._wallet_entries("payment") if entry["amount_minor"] < 0]
        refunds += self._wallet_entries("refund", "refund_reversed")
        disputed = self._wallet_entries("dispute_withheld", "dispute_released", "dispute_lost", "dispute_fee")
        withheld = [entry for entry in self.rows("ledger", "at") if entry["account"] == "dispute_withheld"]
        ever = self.rows("ledger", "at", self.by_end)
        fees = [entry for entry in self.rows("ledger", "at") if entry["account"] in ("psp_fees", "dispute_fees")]

        def provider_and_method(entry: Row, name: str) -> str | None:
            found: str | None = payments[entry["payment_id"]][name] if entry["payment_id"] else None
            return found

        office = [row for row in self.rows("office_payments", "received_at") if row["currency"] == self.currency]
        taken = [row for row in office if row["amount_minor"] > 0]
        return {
            "cash_in": _sum(top_ups) + _sum(taken),
            "office": _sum(taken),
            "office_by_method": add_up((row["method"], row["amount_minor"]) for row in taken),
            "office_returned": _sum(taken) - _sum(office),
            "topped_up": _sum(top_ups),
            "refunded": -_sum(refunds),
            # what left wallets for disputes and is not held for them any more is lost
            "charged_back": -_sum(disputed) - _sum(withheld),
            "disputes_open": _sum(entry for entry in ever if entry["account"] == "dispute_withheld"),
            "fees": -_sum(fees),
            "fees_by_provider": add_up((entry.get("provider"), -entry["amount_minor"]) for entry in fees),
            "clearing": -_sum(entry for entry in ever if entry["account"] == "psp_clearing"),
            # the bank has what the providers gave out of what they had collected; the ledger writes that below zero
            "paid_out": sum(0 - e["amount_minor"] for e in self.rows("ledger", "at") if e["account"] == "bank"),
            "clearing_by_provider": add_up(
                (entry.get("provider"), -entry["amount_minor"]) for entry in ever if entry["account"] == "psp_clearing"
            ),
            "topped_up_by_provider": add_up((provider_and_method(e, "provider"), e["amount_minor"]) for e in top_ups),
            "topped_up_by_method": add_up((provider_and_method(e, "method"), e["amount_minor"]) for e in top_ups),
            "topped_up_to_date": _sum(
                e for e in ever if (e["account"], e["kind"]) == ("user_wallet", "payment") and e["amount_minor"] > 0
            ),
        }

    def _wallet_entries(self, *kinds: str) -> list[Row]:
        return [e for e in self.rows("ledger", "at") if e["account"] == "user_wallet" and e["kind"] in kinds]

    def _credited(self) -> Row:
        waits = sorted(
            (event["processed_at"] - event["received_at"]) // _MILLISECOND
            for event in self.rows("webhook_events", "processed_at")
            if event["state"] == "applied" and event["payment_id"] is not None
        )
        if not waits:
            return {"credited": 0}
        half, most = (waits[math.ceil(share * len(waits)) - 1] for share in (Fraction(1, 2), Fraction(95, 100)))
        return {"credited": len(waits), "credit_p50": half, "credit_p95": most, "credit_max": waits[-1]}

    def wallets(self) -> Row:
        held: Counter[int] = Counter()
        for entry in self.rows("ledger", "at", self.by_end):
            if entry["account"] == "user_wallet":
                held[entry["user_id"]] += entry["amount_minor"]
        return {
            "credit": sum(amount for amount in held.values() if amount > 0),
            "debt": -sum(amount for amount in held.values() if amount < 0),
            "debtors": sum(amount < 0 for amount in held.values()),
            "total": sum(held.values()),
            "mean": ratio(sum(held.values()), len(self.rows("users", "created_at", self.by_end))),
            "adjusted": _sum(self._wallet_entries("adjustment")),
        }

    def revenue(self) -> Row:
        sales = [entry for entry in self.rows("ledger", "at") if entry["account"] == "subscription_revenue"]
        ever = self.rows("ledger", "at", self.by_end)
        returned = [entry for entry in sales if entry["kind"] == "deactivation"]
        chapter_of = {each["id"]: each["chapter_id"] for each in self.school["subscriptions"]}
        chapters = [chapter_of[entry["subscription_id"]] for entry in sales]
        amounts = [entry["amount_minor"] for entry in sales]
        teachers = [self.teacher_of(chapter, entry["at"]) for chapter, entry in zip(chapters, sales, strict=True)]
        return {
            "net": _sum(sales),
            "billed": _sum(sales) - _sum(returned),
            "returned": -_sum(returned),
            "net_to_date": _sum(entry for entry in ever if entry["account"] == "subscription_revenue"),
            "by_chapter": add_up(zip(chapters, amounts, strict=True)),
            "by_teacher": add_up(zip(teachers, amounts, strict=True)),
            "earned": self.earned_by(self.day) - self.earned_by(self.day - _DAY),
            "deferred": self.paid_by(self.day) - self.earned_by(self.day),
        }

    def teacher_of(self, chapter_id: int | None, at: datetime) -> int | None:
        """Who taught the chapter at a moment; where nothing was noted until then, who teaches it now."""
        noted = [
            each for each in self.school["chapter_teachers"] if each["chapter_id"] == chapter_id and each["since"] <= at
        ]
        if noted:
            last: int | None = max(noted, key=lambda each: each["since"])["teacher_id"]
            return last
        now = {chapter["id"]: chapter["teacher_id"] for chapter in self.school["chapters"]}
        return now.get(chapter_id)


def _sum(entries: Iterable[Row]) -> int:
    return sum(entry["amount_minor"] for entry in entries)
