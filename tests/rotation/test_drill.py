"""Every secret is rotated under load, and no event is lost."""

from pathlib import Path

import pytest

from tests.rotation.drill import Drill


@pytest.mark.slow
def test_every_secret_is_rotated_under_load_without_a_lost_event(tmp_path: Path) -> None:
    drill = Drill(tmp_path)
    with drill.running():
        rotated = list(drill.rotations())
        drill.assert_nothing_is_lost()

    assert [one.secret for one in rotated] == ["provider", "API token", "database", "RabbitMQ", "S3"]
    assert all(one.webhooks > 1 and one.uploads > 1 for one in rotated)
