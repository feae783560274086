"""A flood of hints takes nothing from a payer, nor from an order that the school has registered."""

from collections.abc import Callable
from functools import partial

import pytest

from services.webhook_gateway.errors import TooManyUnverifiedError
from services.webhook_gateway.http.unverified_rate_limit import (
    HINTS_PER_ORDER_A_MINUTE,
    WINDOW_SECONDS,
    UnverifiedRateLimit,
)
from shared.runtime.client_address import client_address


def _is_limited(count: Callable[[], None]) -> bool:
    try:
        count()
    except TooManyUnverifiedError:
        return True
    return False


def test_hints_about_made_up_orders_take_nothing_from_a_registered_one() -> None:
    limit = UnverifiedRateLimit(10, 10, lambda _provider, reference: reference == "registered")

    refused = [_is_limited(partial(limit.count_hint, "satim", f"made-up-{n}", f"client-{n}")) for n in range(200)]

    assert refused.count(False) == 10 * WINDOW_SECONDS
    limit.count_hint("satim", "registered", "payer")


def test_one_client_leaves_half_of_the_budget_to_the_others() -> None:
    limit = UnverifiedRateLimit(10, 10)

    refused = [_is_limited(partial(limit.count_hint, "satim", f"order-{n}", "flood")) for n in range(200)]

    assert refused.count(False) == 10 * WINDOW_SECONDS // 2
    limit.count_hint("satim", "genuine", "payer")


def test_one_order_has_a_budget_however_many_clients_name_it() -> None:
    limit = UnverifiedRateLimit(10, 1000, lambda _provider, _reference: True)

    refused = [_is_limited(partial(limit.count_hint, "satim", "one", f"client-{n}")) for n in range(50)]

    assert refused.count(False) == HINTS_PER_ORDER_A_MINUTE
    limit.count_hint("satim", "another", "client-1")


@pytest.mark.parametrize(
    ("proxies", "forwarded", "client"),
    [
        (0, "203.0.113.9", "198.51.100.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "made-up, 203.0.113.9", "203.0.113.9"),
        (2, "203.0.113.9", "198.51.100.1"),
        (2, "made-up, 203.0.113.9, 10.0.0.1", "203.0.113.9"),
        (1, "", "198.51.100.1"),
    ],
)
def test_a_client_is_named_by_our_own_proxies_alone(proxies: int, forwarded: str, client: str) -> None:
    environ = {"REMOTE_ADDR": "198.51.100.1", "HTTP_X_FORWARDED_FOR": forwarded}

    assert client_address(proxies)(environ) == client
