"""`nouba doctor` checks playback where it is set up, and says nothing of it elsewhere."""

import pytest

from local.free_port import free_port
from services.playback.doctor_checks import CHECKS


def findings() -> list[tuple[str, str]]:
    return [(finding.verdict.value, finding.subject) for check in CHECKS for finding in check()]


def test_playback_is_checked_where_it_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert findings() == []

    # When its secret is short, it is a fault
    monkeypatch.setenv("NOUBA_DATABASE_URL", "postgresql://a/b")
    monkeypatch.setenv("NOUBA_S3_BUCKET", "nouba")
    monkeypatch.setenv("NOUBA_PLAYBACK_SECRETS", "short")
    assert findings() == [("fault", "playback")]

    # When all is right, what does not run is a note
    monkeypatch.setenv("NOUBA_PLAYBACK_SECRETS", "x" * 32)
    monkeypatch.setenv("NOUBA_PLAYBACK_PORT", str(free_port()))
    assert findings() == [("fine", "playback"), ("note", "playback")]
