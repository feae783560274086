"""`make backup-drill` restores PostgreSQL to a point in time and S3 beside it, and ends with nothing missing."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
#: What it may take on a busy machine; two minutes on one of its own.
MAX_SECONDS = 360


@pytest.mark.slow
@pytest.mark.timeout(MAX_SECONDS + 30)
def test_after_the_disaster_nothing_is_missing() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "local.backup_drill"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    for found in ("were missing", "0 refused", "0 twice", " 0 faults", "all as they were"):
        assert found in result.stdout
    print(result.stdout)
