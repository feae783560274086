"""Settles one event as the payments worker does, until it is settled: `settle <database_url> <secret> <event_id>`."""

import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.settle import Settlement
from shared.runtime.database import build_engine
from shared.runtime.failpoints import FailpointError


def main(database_url: str, secret: str, event_id: str) -> None:
    engine = build_engine(database_url, pool_size=1, autocommit=True)
    settlement = Settlement(
        read=lambda number: read_events(engine, [number])[0],
        books=partial(open_store, engine, timedelta(days=30)),
        providers={"generic": Generic([secret])},
        asks={},
        terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), now=lambda: datetime.now(UTC)),
    )
    while True:
        try:
            settlement.settle(int(event_id))
        except FailpointError:
            continue  # its message comes again
        break
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
