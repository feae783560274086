"""A healthy school for each test of the doctor."""

from collections.abc import Iterator

import pytest

from local.s3 import S3
from tests.operations.doctor.school import School, healthy_school


@pytest.fixture
def school(database_url: str, rabbitmq_url: str, s3_server: S3) -> Iterator[School]:
    with healthy_school(database_url, rabbitmq_url, s3_server) as made:
        yield made
