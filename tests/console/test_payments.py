"""Support's three questions, each answered by one page: where is a payment, what is a balance, why not active."""

import re
from html import unescape

import pytest

from tests.console.clients import VIEWER, Person, console_of
from tests.console.factories import open_school
from tests.webhook_gateway.processes import Database


@pytest.fixture
def support(database_url: str, rabbitmq_url: str, database: Database) -> Person:
    """Somebody who may check, and not decide."""
    open_school(database)
    person = Person(console_of(database_url, rabbitmq_url))
    person.enter(VIEWER)
    return person


def words(page: str) -> str:
    """The page's text, without its markup."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.mark.parametrize("given", ["pi_1", "CMD0000004", "1", " pi_1 ", "\u2068pi_1\u2069"])
def test_a_payment_is_found_by_its_reference_its_order_and_its_number(support: Person, given: str) -> None:
    answer = support.send("/payments", "/payments/search", words=given)

    page = support.read(answer.location)
    assert 'href="/payments/1"' in page
    assert 'href="/payments/2"' not in page


def test_a_student_is_found_by_number_and_by_email_whose_address_is_never_shown(support: Person) -> None:
    # When a user's number is searched for, then the payments and the wallet are there
    page = support.read(support.send("/payments", "/payments/search", words="7").location)
    assert all(f'href="{path}"' in page for path in ("/payments/1", "/payments/2", "/wallets/7"))
    # and a user who has paid nothing yet has a wallet, too
    assert 'href="/wallets/8"' in support.read("/payments?words=8")

    # When an e-mail address is searched for, in whatever case, then it leads to the wallet, and is in no address
    answer = support.send("/payments", "/payments/search", words="amina@SCHOOL.example")
    assert answer.location == "/wallets/7"
    assert "@" not in support.read("/wallets/7")
    lost = support.send("/payments", "/payments/search", words="nobody@school.example")
    assert lost.location == "/payments"
    assert "No user has this e-mail address." in support.read("/payments")


def test_payments_are_filtered_by_their_status(support: Person) -> None:
    page = support.read(support.send("/payments", "/payments/search", words="", state="pending").location)
    assert 'href="/payments/2"' in page
    assert 'href="/payments/1"' not in page
    assert "No such payment." in support.read("/payments?words=%27%3B--")
    # what is copied from an Arabic page comes with changes of direction
    assert 'href="/payments/1"' in support.read("/payments?words=%E2%80%AApi_1%E2%80%AC")
    assert support.get("/payments?words=a%00").status_code == 400
    assert 'href="/payments/1"' in support.read("/payments?state=nonsense&words=" + "1")


def test_where_a_payment_is_is_one_page(support: Person) -> None:
    shown = words(support.read("/payments/1"))

    # its capture, its refund, its fee; what its webhooks did; every entry; and what it waits for
    assert "The provider says partially_refunded: 2,400.00 DZD of it are in the wallet of user 7." in shown
    assert "The refund re_1 of 100.00 DZD is pending: the provider has not decided." in shown
    assert "capture pi_1 collected 2,500.00 DZD" in shown
    assert "refund re_1 pending 100.00 DZD" in shown
    assert "fee txn_1 payment 63.00 DZD" in shown
    assert "payment 1 is completed" in shown
    assert "user_wallet 7 +2,500.00 DZD" in shown
    assert "psp_fees stripe -63.00 DZD" in shown
    page = support.read("/payments/1")
    assert all(f'href="{path}"' in page for path in ("/wallets/7", "/webhooks/11"))


def test_a_payment_that_waits_for_a_person_says_so_and_leads_there(support: Person) -> None:
    page = support.read("/payments/2")

    assert "Webhook 12 is quarantined, and nobody has decided: registered 260000 DZD, reported 200000" in words(page)
    assert 'href="/webhooks/12"' in page
    assert 'href="/payments/2"' in support.read("/webhooks/12")
    assert 'href="/payments/2"' in support.read("/webhooks")


def test_a_webhook_of_a_payment_has_a_next_attempt_once_it_was_tried(support: Person, database: Database) -> None:
    due = "2031-02-03 04:05:06+01"
    waits = "UPDATE webhook_events SET state = 'received', processed_at = NULL, attempts = %s, next_attempt_at = %s"

    database.execute(waits + " WHERE id = 12", 0, due)
    assert "2031-02-03 04:05" not in support.read("/payments/2")

    database.execute(waits + " WHERE id = 12", 1, due)
    assert "2031-02-03 04:05" in support.read("/payments/2")


def test_what_a_balance_is_made_of_is_one_page(support: Person) -> None:
    shown = words(support.read("/wallets/7"))

    assert "Wallet of user 7 400.00 DZD" in shown.replace("As it was at Show ", "")
    # the newest first, each with the balance after it
    assert shown.index("refund -100.00 DZD 400.00 DZD") < shown.index("activation -2,000.00 DZD 500.00 DZD")
    assert shown.index("activation -2,000.00 DZD 500.00 DZD") < shown.index("payment +2,500.00 DZD 2,500.00 DZD")


def test_a_balance_as_it_was_at_a_time_of_the_schools_zone(support: Person) -> None:
    # Given entries at 10:00 of three days, UTC, which is 11:00 in Algiers
    before, after = (words(support.read(f"/wallets/7?at=2026-11-02T{at}")) for at in ("10:59", "11:01"))

    assert "2,500.00 DZD 2026-11-02 10:59:00" in before
    assert "500.00 DZD 2026-11-02 11:01:00" in after
    assert 'value="2026-11-02T10:59"' in support.read("/wallets/7?at=2026-11-02T10:59")
    # what is no time is now
    assert "400.00 DZD" in words(support.read("/wallets/7?at=yesterday"))


def test_why_a_subscription_is_not_active_is_on_the_same_page(support: Person) -> None:
    shown = words(support.read("/wallets/7"))

    assert "It runs until" in shown
    assert "It costs 3,000.00 DZD, and the wallet has 400.00 DZD: 2,600.00 DZD are missing." in shown
    # the money that may come for it
    assert "Payment 2 of 2,600.00 DZD is not booked: its webhook 12 is quarantined." in shown
    assert "It ended on 2026-01-31." in shown


@pytest.mark.parametrize("path", ["/payments/999", "/wallets/999", f"/payments/{2**63}", f"/wallets/{2**63}"])
def test_what_is_not_there_is_a_page_that_says_so(support: Person, path: str) -> None:
    assert support.get(path).status_code == 404


def test_a_stranger_sees_no_money(database_url: str, rabbitmq_url: str, database: Database) -> None:
    open_school(database)
    stranger = Person(console_of(database_url, rabbitmq_url))

    for path in ("/payments", "/payments/1", "/wallets/7"):
        answer = stranger.get(path)
        assert answer.status_code == 302
        assert "/enter" in answer.location
    stranger.get("/enter")
    found = stranger.send("/enter", "/payments/search", words="amina@school.example")
    assert "/enter" in found.location
