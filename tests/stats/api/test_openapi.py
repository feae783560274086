"""The document is true: a fuzzer asks the real server, and no route is missing on either side."""

import re
import subprocess
from pathlib import Path

from flask import Flask

from services.stats.api import openapi
from services.stats.api.routes import stats as routes
from tests.api_reference import assert_loads_its_own_files
from tests.stats.api.conftest import Library
from tests.webhook_gateway.processes import NOUBA

#: The one check that cannot hold: a schema cannot say that `from` is not later than `to`.
EXCLUDED = "positive_data_acceptance"
EXAMPLES = 10


def test_a_fuzzer_finds_the_document_true(library: Library, tmp_path: Path) -> None:
    fuzzer = [str(NOUBA.with_name("schemathesis")), "--no-color", "run", f"{library.api.url}/openapi.json"]
    options = {
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


def test_every_route_is_documented_and_every_documented_one_exists() -> None:
    app = Flask("routes", static_folder=None)
    app.register_blueprint(routes)
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    documented = {
        (path, method.upper()) for path, operations in openapi.DOCUMENT["paths"].items() for method in operations
    }

    assert documented == served


def test_the_page_loads_its_own_files_alone(library: Library) -> None:
    assert_loads_its_own_files(library.client)
    assert library.client.get("/docs/__init__.py").status_code == 404
