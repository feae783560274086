"""A school whose wallets are in TND or JPY: a webhook is booked, and every command writes the currency's own digits."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from click.testing import CliRunner

from local.psp.signed_webhooks import Payment, signed
from shared.cli import main
from tests.waiting import wait_until
from tests.webhook_gateway.processes import SECRETS, Database, RunningGateway, RunningWorker, deliver


@pytest.mark.slow
@pytest.mark.parametrize(("currency", "written"), [("TND", "12.345 TND"), ("JPY", "12,345 JPY")])
def test_amounts_have_the_digits_of_the_schools_currency(
    database_url: str, rabbitmq_url: str, tmp_path: Path, currency: str, written: str
) -> None:
    # Given a school in this currency, and a payment of the day before, which the statistics can count
    school = {"NOUBA_CURRENCY": currency}
    database = Database(database_url)
    database.execute("INSERT INTO users (id) VALUES (7)")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    payment = Payment(reference="t-1", amount_minor=12_345, user_id=7, currency=currency)
    webhook = signed("standard_webhooks", [SECRETS["standard_webhooks"]], payment, "paid", occurred_at=yesterday)
    with (
        RunningWorker(tmp_path / "worker", database_url, rabbitmq_url, **school),
        RunningGateway(tmp_path / "gateway", database_url, rabbitmq_url, **school) as gateway,
        httpx.Client(base_url=gateway.url) as client,
    ):
        deliver(client, webhook)
        wait_until(lambda: database.rows("SELECT state FROM webhook_events") == [("applied",)])
    day = str(yesterday.astimezone(ZoneInfo("Africa/Algiers")).date())

    # When it is shown, then it has these digits everywhere
    environment = {"NOUBA_DATABASE_URL": database_url, "COLUMNS": "200", **school}
    for command in (f"stats compute {day}", f"stats show {day}", "wallet 7", "payments show t-1", "payments find t-1"):
        shown = CliRunner().invoke(main, command.split(), env=environment)
        assert shown.exit_code == 0, (command, shown.output)
        assert "compute" in command or written in shown.output, (command, shown.output)
