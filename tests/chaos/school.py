"""The school and its bank before the storm: students, what they want to buy, and the checkouts that they have begun."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg2
from psycopg2.extras import execute_values
from werkzeug.serving import make_server

from local.free_port import HOST, free_port
from local.psp.satim_bank import Bank
from local.psp.server import REST, simulator
from shared.operations.webhook_endpoints.endpoints import Endpoints
from shared.runtime.database import build_engine
from tests.chaos.events import Plan
from tests.chaos.oracle import payer


def enrol(database_url: str, plan: Plan, days: int) -> None:
    """Write the plan's users, who have been there for `days` days, their subscriptions and the bank's checkouts."""
    joined = plan.today - timedelta(days=days)
    checkouts = [
        ("satim", life.payment.reference, life.payment.order_number, payer(plan, place), life.payment.amount_minor)
        for place, life in enumerate(plan.lives)
        if life.provider == "satim"
    ]
    with contextlib.closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        users = [(number, joined) for number in range(1, plan.users + 1)]
        execute_values(cursor, "INSERT INTO users (id, created_at) VALUES %s", users)
        wanted = [(number, *one, joined) for number, one in enumerate(plan.subscriptions, 1)]
        columns = "id, user_id, amount_minor, created_at"
        execute_values(cursor, f"INSERT INTO subscriptions ({columns}) VALUES %s", wanted)  # noqa: S608
        columns = "provider, provider_reference, order_number, user_id, amount_minor"
        execute_values(cursor, f"INSERT INTO payments ({columns}) VALUES %s", checkouts)  # noqa: S608
        connection.commit()


def add_endpoint(database_url: str, url: str) -> str:
    """Register the school's receiver for every event; returns its secret."""
    engine = build_engine(database_url)
    try:
        _, secret = Endpoints(engine, allow_private=True).add(url, ["*"], None, ordered=False, who="chaos")
    finally:
        engine.dispose()
    return secret


@contextlib.contextmanager
def bank(plan: Plan) -> Iterator[str]:
    """The address of a bank that knows how the plan's orders ended. It is the provider's, so nobody strikes it."""
    orders = Bank(auto_cancel_seconds=24 * 3600)
    port = free_port()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = simulator(orders, username="school", password="bank-password")
    for life in plan.lives:
        if life.provider == "satim":
            form = {
                "orderNumber": life.payment.order_number or "",
                "amount": str(life.payment.amount_minor),
                "returnUrl": "https://school.example/paid",
                "jsonParams": '{"force_terminal_id": "E1", "udf1": "1"}',
            }
            order = orders.register(form)
            assert order.md_order == life.payment.reference, "the bank's names are made as the plan makes them"
            orders.act(order.md_order, "pay" if "paid" in life.reported else "decline")
    server = make_server(HOST, port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="bank", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{port}{REST}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
