"""The keys of encrypted lessons: who gets one, and that it is chosen once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, text

from services.transcoder.errors import EnvironmentNotReadyError
from services.transcoder.hls.encryption_policy import Encrypt, EncryptionPolicy
from services.transcoder.hls.postgres_keys import PostgresKeyStore
from services.transcoder.planning.plan import make_plan
from services.transcoder.worker_settings import WorkerSettings
from shared.runtime.database import RetryingEngine, build_engine
from tests.transcoder.jobs.test_postgres_jobs import make_source

PAID, FREE, WITHOUT_CHAPTER = 1, 2, 3
KEY_URL = "https://school.example/courses/{course_id}/keys/{key_id}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = build_engine(database_url, pool_size=12)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO chapters (id, title, price_minor) VALUES (1, 'Optics', 150000), (2, 'Waves', 0)")
        )
        connection.execute(text("INSERT INTO courses (id, chapter_id) VALUES (1, 1), (2, 2), (3, NULL)"))
    yield engine
    engine.dispose()


@pytest.fixture
def keys(engine: Engine) -> PostgresKeyStore:
    return PostgresKeyStore(RetryingEngine(engine))


def test_workers_that_choose_at_once_and_again_get_one_key(keys: PostgresKeyStore) -> None:
    with ThreadPoolExecutor(12) as pool:
        chosen = set(pool.map(lambda _: keys.choose(PAID, "content", paid_only=True), range(24)))

    assert len(chosen) == 1
    (key_id,) = chosen
    assert key_id
    assert len(keys.secret(key_id)) == 16
    assert keys.choose(PAID, "other content", paid_only=True) != key_id


@pytest.mark.parametrize(
    ("encrypt", "locked"),
    [(Encrypt.NEVER, set()), (Encrypt.PAID, {PAID}), (Encrypt.ALWAYS, {PAID, FREE, WITHOUT_CHAPTER})],
)
def test_the_setting_says_which_lessons_are_encrypted(
    encrypt: Encrypt, locked: set[int], keys: PostgresKeyStore
) -> None:
    encryption_policy = EncryptionPolicy(keys, encrypt, KEY_URL)
    plan = make_plan(make_source(20), "a" * 64, "build")

    plans = {course_id: encryption_policy.lock(plan, course_id) for course_id in (PAID, FREE, WITHOUT_CHAPTER)}

    assert {course_id for course_id, one in plans.items() if encryption_policy.key(one)} == locked
    for course_id in locked:
        place = plans[course_id].key_place
        assert place
        assert place.uri == f"https://school.example/courses/{course_id}/keys/{place.key_id}"
        assert plans[course_id].key != plan.key, "other bytes have another name"
        assert keys.secret(place.key_id).hex() not in str(plans[course_id].dump())


def test_a_key_that_is_gone_is_reported_with_what_to_do(keys: PostgresKeyStore) -> None:
    with pytest.raises(EnvironmentNotReadyError, match="backup"):
        keys.secret("0" * 32)


@pytest.mark.parametrize(
    "url", ["", "https://school.example/keys", "keys/{key_id}", 'https://school.example/"{key_id}']
)
def test_encryption_without_an_address_for_keys_refuses_to_start(url: str) -> None:
    servers = {"database_url": "postgresql://a/b", "rabbitmq_url": "amqp://a", "s3_bucket": "lessons"}

    with pytest.raises(ValidationError):
        WorkerSettings(**servers, transcoder_encrypt="paid", transcoder_key_url=url)  # type: ignore[arg-type]
    assert WorkerSettings(**servers, transcoder_encrypt="paid", transcoder_key_url=KEY_URL)  # type: ignore[arg-type]
