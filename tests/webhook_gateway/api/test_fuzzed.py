"""A fuzzer with a token finds the document of the whole API true: no answer is a fault, and each has its schema."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.webhook_gateway.api.conftest import TOKEN_OF_ALL
from tests.webhook_gateway.processes import NOUBA, RunningGateway

EXAMPLES = 40
#: What has the form can still be no order of ours, no address of the school's and no captions.
EXCLUDED = "positive_data_acceptance"
#: These need S3, which the gateway of these tests is without: they are answered 503, as documented.
WITHOUT_S3 = ("openUpload", "closeUpload", "resumeUpload")


#: Each half by a client of its own: the fuzzer leaves the token out once an operation, and after 20 of these in a
#: minute a client is refused.
PATHS = {"courses": "^/api/v1/courses/", "the rest": "^/api/v1/(?!courses/)"}


@pytest.mark.slow
@pytest.mark.parametrize("paths", PATHS)
def test_a_fuzzer_with_a_token_finds_the_document_true(
    paths: str, gateway: RunningGateway, another_client: dict[str, str], tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN_OF_ALL}", **another_client}
    options = {
        "--include-path-regex": PATHS[paths],
        "--checks": "all",
        "--exclude-checks": EXCLUDED,
        "--phases": "coverage,fuzzing",
        "--max-examples": str(EXAMPLES),
        "--seed": "1",
        "--generation-database": "none",
        "--suppress-health-check": "all",
    }
    arguments = [part for option in options.items() for part in option]
    arguments += [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
    arguments += [part for name in WITHOUT_S3 for part in ("--exclude-operation-id", name)]

    fuzzer = [str(NOUBA.with_name("schemathesis")), "--no-color", "run", f"{gateway.url}/openapi.json"]
    found = subprocess.run([*fuzzer, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert found.returncode == 0, found.stdout
    assert re.search(r"(\d+) generated, \1 passed", found.stdout), found.stdout
