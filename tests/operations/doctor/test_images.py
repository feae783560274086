"""`nouba doctor` where one service alone is installed and the commands of all are named, as in each service's image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.operations.doctor.school import School

PROJECT = Path(__file__).parents[3]

#: By service, something that its own checks report and those of the others do not.
OWN = {"webhook_gateway": "providers", "transcoder": "ffmpeg", "stats": "statistics"}


def unpack_image(folder: Path, service: str) -> None:
    """What the service's Dockerfile copies."""
    (folder / "services").mkdir()
    for name in ("shared", "services/__init__.py", f"services/{service}"):
        (folder / name).symlink_to(PROJECT / name)


@pytest.mark.parametrize("service", OWN)
def test_the_service_of_the_image_is_checked_and_no_other(service: str, school: School, tmp_path: Path) -> None:
    # Given an image, which has the entry points of all services
    unpack_image(tmp_path, service)

    # When the school is checked from it
    reported = subprocess.run(
        [sys.executable, "-c", "from shared.cli import main; main()", "doctor", "--json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path), **school.settings},
        capture_output=True,
        text=True,
    )

    # Then the servers and its own things are reported, all fine
    assert reported.returncode == 0, reported.stderr
    findings = json.loads(reported.stdout)["findings"]
    assert {finding["verdict"] for finding in findings} == {"fine"}, findings
    subjects = {finding["subject"] for finding in findings}
    assert {"database", "RabbitMQ"} <= subjects
    assert subjects & set(OWN.values()) == {OWN[service]}
