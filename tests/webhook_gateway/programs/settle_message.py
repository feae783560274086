"""Handles a message of several events as the payments worker does, until it is done.

`settle_message <database_url> <secret> <deliveries before> <event_id>...`
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.settlement.batched import MAX_LOCK_MS, BatchedSettlement
from services.webhook_gateway.settlement.book_payment_notice import WalletPolicy
from services.webhook_gateway.settlement.postgres import open_store, read_events
from services.webhook_gateway.settlement.retry_due import enqueue_alone
from services.webhook_gateway.settlement.settle import Settlement
from shared.contracts.webhooks import WebhooksReceived
from shared.runtime.database import build_engine
from shared.runtime.failpoints import FailpointError
from tests.webhook_gateway.deliveries import deliver


def main(database_url: str, secret: str, deliveries_before: int, event_ids: Sequence[int]) -> None:
    committing = build_engine(database_url, pool_size=4, autocommit=True)
    engine = build_engine(database_url, pool_size=1)
    read, period = partial(read_events, committing), timedelta(days=30)
    patient = Settlement(
        read=lambda number: read([number])[0],
        books=partial(open_store, committing, period),
        providers={"generic": Generic([secret])},
        asks={},
        terms=WalletPolicy("DZD", ZoneInfo("Africa/Algiers"), now=lambda: datetime.now(UTC)),
    )
    impatient = replace(patient, books=partial(open_store, committing, period, MAX_LOCK_MS))
    settlement = BatchedSettlement(impatient, impatient, patient, read)
    while True:
        message = WebhooksReceived(event_ids=tuple(event_ids))
        try:
            deliver(message, settlement, partial(enqueue_alone, engine), lambda _queue: None, deliveries_before)
        except FailpointError:
            # its retry is a new message, which was never delivered
            deliveries_before = 0
            continue
        break
    committing.dispose()
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(event_id) for event_id in sys.argv[4:]])
