"""Who may import whom is kept by import-linter, and import-linter would notice."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT, modules

pytestmark = pytest.mark.lint

FRAMEWORKS = {"boto3", "dramatiq", "flask", "gunicorn", "pika", "psycopg2", "sqlalchemy"}
USE_CASES = (
    "services.webhook_gateway.inbox.accept",
    "services.webhook_gateway.settlement.book_payment_notice",
    "services.webhook_gateway.settlement.settlement_store",
    "services.webhook_gateway.payments.ledger",
    "services.webhook_gateway.settlement.settle",
    "services.webhook_gateway.payments.payment_state",
    "services.webhook_gateway.payments.subscription_allocation",
    "shared.contracts.routes",
)


def lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    """The linter over the packages in `folder`, as `make check` runs it."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_every_import_is_allowed() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their rules, to be broken."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("services/stats/settings.py", "import services.webhook_gateway.errors", "Services never import each other"),
        ("services/webhook_gateway/errors.py", "import services.stats.settings", "Services never import each other"),
        ("shared/runtime/settings.py", "import services.stats.settings", "Layers: services"),
        ("shared/schema/metadata.py", "import shared.runtime.settings", "Layers: services"),
        ("shared/contracts/message.py", "import shared.schema.metadata", "Layers: services"),
        ("services/webhook_gateway/settlement/settle.py", "import sqlalchemy", "no framework"),
        ("services/webhook_gateway/payments/payment_state.py", "import dramatiq", "no framework"),
        # by way of another module
        (
            "services/webhook_gateway/payments/model.py",
            "import services.webhook_gateway.inbox.postgres",
            "no framework",
        ),
        ("shared/contracts/message.py", "import pika", "no framework"),
    ],
)
def test_a_planted_import_is_found(copy: Path, module: str, line: str, rule: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode != 0
    (broken,) = [text for text in result.stdout.splitlines() if rule in text and text.endswith("BROKEN")]
    assert broken


def test_use_cases_run_where_no_framework_is_loaded() -> None:
    program = f"import sys, {', '.join(USE_CASES)}; print(*sorted({FRAMEWORKS} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_every_connection_to_postgresql_is_opened_in_one_place() -> None:
    """There it leads to the server that takes writes, ends in time, and is dropped when it is useless."""
    opening = {
        str(path.relative_to(ROOT))
        for path in modules("services", "shared")
        if re.search(r"\b(create_engine|psycopg2\.connect)\(", path.read_text())
    }
    assert opening == {"shared/runtime/database.py"}
