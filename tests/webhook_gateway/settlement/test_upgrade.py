"""Payments that an earlier release booked keep their books in an upgrade, and later news of them still merge."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

from local.postgres import Postgres
from services.webhook_gateway.integrity.invariant_checker import InvariantChecker
from services.webhook_gateway.payments.objects import Dispute, DisputeState, Refund, RefundState
from services.webhook_gateway.payments.payment_state import Stage
from shared.contracts.webhooks import EventState
from shared.runtime.database import build_engine
from shared.runtime.migrations import migrate
from tests.webhook_gateway.settlement.factories import OPENED_AT
from tests.webhook_gateway.settlement.harness import Clock, Harness
from tests.webhook_gateway.settlement.postgres_school import SqlSchool

#: What an earlier release wrote of each payment: status, refunded, dispute, credited, amount_is_final, fee.
_KEPT: dict[str, tuple[str, int, str, int, bool, int]] = {
    "whole": ("completed", 0, "none", 10000, True, 250),
    "part": ("partially_refunded", 3000, "none", 7000, True, 0),
    "gone": ("refunded", 10000, "none", 0, True, 0),
    "disputed": ("disputed", 0, "open", 0, True, 0),
    "charged back": ("charged_back", 0, "lost", 0, True, 0),
    "won": ("completed", 0, "won", 10000, True, 0),
    "refunded and disputed": ("disputed", 3000, "open", 0, True, 0),
    "held": ("authorized", 0, "none", 0, False, 0),
    "registered": ("pending", 0, "none", 0, True, 0),
    "failed": ("failed", 0, "none", 0, False, 0),
}
_COLLECTED = [name for name, row in _KEPT.items() if row[0] not in ("authorized", "pending", "failed")]


@dataclass
class Upgraded:
    """The school after the upgrade, and what its books were before it."""

    harness: Harness
    users: dict[str, int]
    before: list[Any]

    def books(self) -> list[Any]:
        assert isinstance(self.harness.school, SqlSchool)
        return _books(self.harness.school.engine)

    def row(self, name: str) -> tuple[str, int, int]:
        (row,) = (one for one in self.books()[0] if one.provider_reference == name)
        return row.status, row.amount_minor, row.credited_minor

    def balance(self, name: str) -> int:
        return self.harness.school.balance(self.users[name])

    def check(self) -> None:
        """No invariant is broken."""
        assert isinstance(self.harness.school, SqlSchool)
        with self.harness.school.engine.connect() as connection:
            found = InvariantChecker(connection, settle_seconds=10**6).check()
        assert found.drift_minor == 0


def _books(engine: Engine) -> list[Any]:
    """Each payment's row, each balance, and the sum of each account."""
    with engine.connect() as connection:
        return [
            connection.execute(text(query)).all()
            for query in (
                "SELECT provider_reference, status, amount_minor, refunded_minor, credited_minor, fee_minor "
                "FROM payments ORDER BY 1",
                "SELECT id, balance_minor FROM users ORDER BY 1",
                "SELECT kind, user_id, sum(amount_minor) FROM ledger_accounts "
                "JOIN ledger_entries ON account_id = ledger_accounts.id GROUP BY 1, 2 ORDER BY 1, 2",
                "SELECT id, status FROM subscriptions ORDER BY 1",
            )
        ]


def _migrate_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "shared/schema/migrations")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _fill(engine: Engine) -> dict[str, int]:
    """The rows of a release before 0017, with a subscription that the first payment paid for."""
    users: dict[str, int] = {}
    with engine.begin() as connection:

        def add(statement: str, **values: Any) -> int:
            return int(connection.execute(text(f"INSERT INTO {statement} RETURNING id"), values).scalar_one())

        clearing, fees, revenue = (
            add("ledger_accounts (kind, provider) VALUES (:kind, :provider)", kind=kind, provider=provider)
            for kind, provider in (("psp_clearing", "psp"), ("psp_fees", "psp"), ("subscription_revenue", None))
        )

        def book(kind: str, entries: dict[int, int], **known: int) -> None:
            names = ["kind", *known]
            number = add(
                f"ledger_transactions ({', '.join(names)}) VALUES ({', '.join(':' + name for name in names)})",
                kind=kind,
                **known,
            )
            for account, amount in entries.items():
                if amount:
                    add(
                        "ledger_entries (transaction_id, account_id, amount_minor, currency) "
                        "VALUES (:number, :account, :amount, 'DZD')",
                        number=number,
                        account=account,
                        amount=amount,
                    )

        for name, (status, refunded, dispute, credited, is_final, fee) in _KEPT.items():
            user = users[name] = add("users (name) VALUES ('A student')")
            wallet = add("ledger_accounts (kind, user_id) VALUES ('user_wallet', :user)", user=user)
            payment = add(
                "payments (provider, provider_reference, user_id, amount_minor, amount_is_final, status, "
                "refunded_minor, dispute, credited_minor, fee_minor, completed_at) VALUES "
                "('psp', :name, :user, 10000, :final, :status, :refunded, :dispute, :credited, nullif(:fee, 0), :at)",
                name=name, user=user, final=is_final, status=status, refunded=refunded, dispute=dispute,
                credited=credited, fee=fee, at=OPENED_AT - timedelta(hours=5) if name in _COLLECTED else None,
            )  # fmt: skip
            event = add(
                "webhook_events (provider, dedupe_key, state, body, body_sha256, reference, payment_id, received_at) "
                "VALUES ('psp', :name, 'applied', '', '', :name, :payment, :at)",
                name=name, payment=payment, at=OPENED_AT - timedelta(hours=4),
            )  # fmt: skip
            if name in _COLLECTED:
                first = {wallet: 10000, clearing: fee - 10000, fees: -fee}
                book("payment", first, payment_id=payment)
                back = 10000 - credited
                if back:
                    book("payment", {wallet: -back, clearing: back}, payment_id=payment, event_id=event)
            if name == "whole":
                subscription = add(
                    "subscriptions (user_id, amount_minor, status, created_at, activated_at) "
                    "VALUES (:user, 6000, 'active', :at, :at)",
                    user=user,
                    at=OPENED_AT - timedelta(hours=5),
                )
                book("activation", {wallet: -6000, revenue: 6000}, subscription_id=subscription)
            connection.execute(
                text("UPDATE users SET balance_minor = :balance WHERE id = :user"),
                {"user": user, "balance": credited - (6000 if name == "whole" else 0)},
            )
    return users


@pytest.fixture
def upgraded(postgres_server: Postgres) -> Iterator[Upgraded]:
    name = f"upgrade_{uuid.uuid4().hex[:12]}"
    admin = build_engine(postgres_server.url_of("postgres"), pool_size=1, autocommit=True)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = build_engine(postgres_server.url_of(name), pool_size=4, autocommit=True)
    plain = build_engine(postgres_server.url_of(name), pool_size=2)
    try:
        _migrate_to(plain, "0016")
        users = _fill(plain)
        before = _books(plain)
        plain.dispose()
        migrate(postgres_server.url_of(name))
        yield Upgraded(Harness(SqlSchool(engine), clock=Clock(OPENED_AT)), users, before)
    finally:
        engine.dispose()
        plain.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()


def test_the_upgrade_changes_no_book_and_what_is_reported_again_changes_none_either(upgraded: Upgraded) -> None:
    assert upgraded.books() == upgraded.before
    upgraded.check()
    at = OPENED_AT - timedelta(hours=5)
    known: dict[str, Any] = {"stage": Stage.COMPLETED, "amount_minor": 10000, "occurred_at": at}
    for name in _COLLECTED:
        refunded = _KEPT[name][1]
        upgraded.harness.book(reference=name, refunded_minor=refunded, **known)
        if refunded:
            refund = Refund(f"re_{name}", refunded, RefundState.SUCCEEDED, began_at=at)
            upgraded.harness.book(reference=name, refunds=(refund,), occurred_at=at)
    upgraded.harness.book(reference="held", stage=Stage.AUTHORIZED, amount_minor=10000)
    upgraded.harness.book(reference="failed", stage=Stage.FAILED, amount_minor=10000)
    assert upgraded.books() == upgraded.before
    upgraded.check()


@pytest.mark.parametrize(
    ("name", "reported", "row"),
    [
        pytest.param("whole", {"refunded_minor": 1000}, ("partially_refunded", 10000, 9000), marks=pytest.mark.slow),
        ("part", {"refunded_minor": 5000}, ("partially_refunded", 10000, 5000)),
        pytest.param("part", {"refunded_minor": 0}, ("completed", 10000, 10000), marks=pytest.mark.slow),
        ("gone", {"refunded_minor": 0}, ("completed", 10000, 10000)),
        ("disputed", {"disputes": (Dispute("dp_1", 10000, DisputeState.WON),)}, ("completed", 10000, 10000)),
        pytest.param(
            "disputed",
            {"disputes": (Dispute("dp_1", 2000, DisputeState.LOST),)},
            ("charged_back", 10000, 8000),
            marks=pytest.mark.slow,
        ),
        ("charged back", {"disputes": (Dispute("dp_1", 10000, DisputeState.LOST),)}, ("charged_back", 10000, 0)),
        pytest.param(
            "won",
            {"disputes": (Dispute("dp_2", 4000, DisputeState.OPEN),)},
            ("disputed", 10000, 6000),
            marks=pytest.mark.slow,
        ),
        (
            "refunded and disputed",
            {"disputes": (Dispute("dp_1", 7000, DisputeState.WON),)},
            ("partially_refunded", 10000, 7000),
        ),
        (
            "held",
            {"stage": Stage.COMPLETED, "amount_minor": 4000, "authorized_minor": 10000},
            ("completed", 4000, 4000),
        ),
        ("registered", {"stage": Stage.COMPLETED, "amount_minor": 10000}, ("completed", 10000, 10000)),
        pytest.param(
            "failed",
            {"stage": Stage.COMPLETED, "amount_minor": 8000},
            ("completed", 8000, 8000),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_news_after_the_upgrade_move_what_is_new(
    upgraded: Upgraded, name: str, reported: dict[str, Any], row: tuple[str, int, int]
) -> None:
    before = upgraded.balance(name)
    credited = upgraded.row(name)[2]
    verdict = upgraded.harness.book(reference=name, occurred_at=OPENED_AT - timedelta(minutes=1), **reported)
    assert verdict.state in (EventState.APPLIED, EventState.IGNORED), verdict
    assert upgraded.row(name) == row
    assert upgraded.balance(name) == before + row[2] - credited
    upgraded.check()


def test_what_the_earlier_release_writes_beside_the_new_one_is_read(upgraded: Upgraded) -> None:
    """While workers are replaced one by one, a row may be written by either of them."""
    assert isinstance(upgraded.harness.school, SqlSchool)
    upgraded.harness.book(reference="part", refunded_minor=4000, occurred_at=OPENED_AT - timedelta(minutes=3))
    with upgraded.harness.school.engine.connect() as connection:
        connection.execute(text("UPDATE payments SET refunded_minor = 5000 WHERE provider_reference = 'part'"))
    with upgraded.harness.school.books() as books:
        payment = books.find("psp", "part", None)
    assert payment is not None
    assert payment.state.refunded_minor == 5000
