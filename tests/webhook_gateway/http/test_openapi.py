"""The document is true: a fuzzer asks the real server, and no route is missing on either side."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import schemathesis
from flask import Flask

from local.postgres import Postgres
from services.webhook_gateway import api_docs
from tests.api_reference import assert_loads_its_own_files
from tests.variations import variations
from tests.webhook_gateway.processes import NOUBA, RunningGateway, deliver, new_database, paid

#: The one check that cannot hold: X-PSP-Provider is a part of the address, so without it the answer is 404.
EXCLUDED = "missing_required_header"
EXAMPLES = 20
#: The school's routes refuse everything without a token, which test_refusals.py of the API has for each of them too.
PATHS = {"for strangers": "^/(?!api/)|^/api/payments/webhook", "of the school": "^/api/(?!payments/webhook)"}


@pytest.fixture(scope="module")
def gateway(migrated_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with new_database(migrated_server) as database:
        # a fuzzer would follow the redirect to the school's page
        log = tmp_path_factory.mktemp("gateway") / "log"
        gateway = RunningGateway(log, database.url, NOUBA_PSP_SATIM_RETURN_URL=None)
        yield gateway
        gateway.kill()
        assert "Traceback" not in gateway.log
        assert " at=" not in gateway.log


@pytest.mark.parametrize("routes", variations(PATHS, ["for strangers"]))
def test_a_fuzzer_finds_the_document_true(routes: str, gateway: RunningGateway, tmp_path: Path) -> None:
    fuzzer = [str(NOUBA.with_name("schemathesis")), "--no-color", "run", f"{gateway.url}/openapi.json"]
    options = {
        "--include-path-regex": PATHS[routes],
        "--checks": "all",
        "--exclude-checks": EXCLUDED,
        "--phases": "coverage,fuzzing",
        "--max-examples": str(EXAMPLES),
        "--seed": "1",
        "--generation-database": "none",
        "--suppress-health-check": "all",
    }
    arguments = [part for option in options.items() for part in option]

    found = subprocess.run([*fuzzer, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert found.returncode == 0, found.stdout
    assert re.search(r"(\d+) generated, \1 passed", found.stdout), found.stdout


def test_what_no_fuzzer_can_sign_is_answered_as_documented_too(gateway: RunningGateway) -> None:
    document = schemathesis.openapi.from_dict(api_docs.document())
    with httpx.Client(base_url=gateway.url) as client:
        news = paid()
        answers = [deliver(client, news), deliver(client, news)]
        answers.append(client.post("/webhooks/generic", content=bytes(300_000)))
        answers.append(client.post("/webhooks/generic", headers={"Content-Encoding": "gzip"}))

    assert [answer.status_code for answer in answers] == [200, 200, 413, 415]
    for answer in answers:
        document["/webhooks/{provider}"]["POST"].validate_response(answer)


def test_every_route_is_documented_and_every_documented_one_exists() -> None:
    app = Flask("routes", static_folder=None)
    api_docs.register(app)
    served = {
        (re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    documented = {
        (path, method.upper()) for path, operations in api_docs.document()["paths"].items() for method in operations
    }

    assert documented == served


def test_the_page_loads_its_own_files_alone(gateway: RunningGateway) -> None:
    with httpx.Client(base_url=gateway.url) as client:
        # tests/e2e/test_api_reference.py sees it name every route in a browser
        assert_loads_its_own_files(client)
        assert client.get("/docs/__init__.py").status_code == 404
