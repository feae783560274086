"""A lesson's key goes to the school's back end, and to nobody else."""

from collections.abc import Iterator

import httpx
import pytest

from local.postgres import Postgres
from tests.webhook_gateway.processes import RunningGateway, new_database
from tests.webhook_gateway.school_api.uploads.test_uploads import execute

TOKEN, KEY_ID, SECRET = "first-token-of-the-school", "0f" * 16, bytes(range(16))
ADDRESS = f"/api/courses/7/keys/{KEY_ID}"
ALLOWED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def gateway(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with new_database(migrated_server) as database:
        execute(database.url, "INSERT INTO courses (id, title) VALUES (7, 'Optics'), (8, 'Waves')")
        values = f"('{KEY_ID}', 7, 'content', decode('{SECRET.hex()}', 'hex'))"
        execute(database.url, f"INSERT INTO course_keys (id, course_id, content_key, secret) VALUES {values}")  # noqa: S608
        log = tmp_path_factory.mktemp("keys") / "log"
        with RunningGateway(log, database.url, NOUBA_API_TOKENS=f"{TOKEN}, second-token-of-the-school") as gateway:
            yield gateway
            assert "Traceback" not in gateway.log
            assert SECRET.hex() not in gateway.log


def test_the_key_is_sixteen_bytes_that_nobody_keeps(gateway: RunningGateway) -> None:
    answer = httpx.get(gateway.url + ADDRESS, headers=ALLOWED)

    assert answer.status_code == 200
    assert answer.content == SECRET
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}])
def test_without_one_of_the_schools_tokens_there_is_no_key(gateway: RunningGateway, headers: dict[str, str]) -> None:
    answer = httpx.get(gateway.url + ADDRESS, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert SECRET not in answer.content


@pytest.mark.parametrize(
    "path", [f"/api/courses/8/keys/{KEY_ID}", "/api/courses/7/keys/other", "/api/courses/7/keys/%00"]
)
def test_a_key_of_another_course_or_of_none_is_not_found(gateway: RunningGateway, path: str) -> None:
    answer = httpx.get(gateway.url + path, headers=ALLOWED)

    assert answer.status_code == 404
    assert answer.json()["error"] == "unknown_key"
