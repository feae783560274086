"""Slow senders and forgers cost no payment; how fast payments are answered meanwhile is measured, not tested."""

import pytest

from tests.chaos.flood import Flood, withstand


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_payments_get_through_beside_slow_senders_and_forged_signatures(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    flood = Flood(valid_per_second=30, forged_per_second=300, slow_sockets=60, seconds=8)

    found = withstand(flood, tmp_path_factory.mktemp("flood"), lambda stage: None)

    assert found.faults == []
    assert sum(found.valid_statuses.values()) == found.kept == 240
    assert found.forged_statuses[401] > 100
    assert found.slow_cut_off >= 60, "slow senders are cut off after five seconds"
