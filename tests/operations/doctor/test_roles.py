"""`nouba doctor` as a role of the database with few rights: it says what the role may not read, and goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres import Postgres
from local.s3 import S3
from tests.operations.doctor.school import School, healthy_school
from tests.roles import PASSWORD, SERVICES, apply_roles, url_of_role


@pytest.fixture
def school(own_postgres: Postgres, rabbitmq_url: str, s3_server: S3) -> Iterator[School]:
    # a server of its own: roles belong to all databases of one
    with healthy_school(own_postgres.url, rabbitmq_url, s3_server) as made:
        yield made


def become(school: School, role: str) -> None:
    """Have the doctor use the same database as `role`."""
    school.settings["NOUBA_DATABASE_URL"] = url_of_role(school.database_url, role)


def test_the_role_of_each_service_may_read_what_the_doctor_asks(
    own_postgres: Postgres, school: School, tmp_path: Path
) -> None:
    # Given the roles of the containers
    apply_roles(own_postgres, tmp_path)

    for service in SERVICES:
        # When the school is checked as one of them
        become(school, f"nouba_{service}")
        status, findings = school.examine()

        # Then all is well, and the version of the tables is known
        assert {finding["verdict"] for finding in findings} == {"fine"}, (service, findings)
        assert {"database", "schema", "outbox"} <= {finding["subject"] for finding in findings}, service
        assert status == 0


def test_a_role_that_may_not_read_the_version_of_the_tables_learns_which_right_it_lacks(school: School) -> None:
    # Given a role that may do nothing but come in
    school.execute("CREATE ROLE stranger LOGIN PASSWORD %(password)s", {"password": PASSWORD})
    become(school, "stranger")

    # When the school is checked
    status, findings = school.examine()

    # Then the right that it lacks is reported, and everything else is checked all the same
    faults = [finding for finding in findings if finding["verdict"] == "fault"]
    assert [fault["subject"] for fault in faults] == ["schema"]
    assert "SELECT on alembic_version" in faults[0]["fix"]
    assert {"database", "clock", "RabbitMQ", "S3", "ffmpeg", "providers"} <= {
        finding["subject"] for finding in findings
    }
    assert status == 1
