"""A new user's first minutes: every command of the README, in order, in a fresh copy of the project."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By

from tests.e2e.browser import Browser
from tests.playback.test_captions import SHOWN
from tests.waiting import wait_until

PROJECT = Path(__file__).parents[2]
#: The first command makes the environment and may install a server.
MAX_SECONDS = 600


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a clone would hold, and nothing that was made here."""
    folder = tmp_path_factory.mktemp("clone") / "nouba"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    yield folder
    run("make down", folder)


@pytest.fixture(scope="module")
def demonstration(copy: Path) -> str:
    """What one `make demo` printed."""
    demo = run("make demo", copy)
    assert demo.returncode == 0, demo.stdout[-3000:] + demo.stderr[-3000:]
    return demo.stdout


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.driver.quit()


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a new user's shell would, whose environment knows nothing of Nouba, nor of the make that runs the tests."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("NOUBA_", "MAKE", "MFLAGS"))
    }
    environment.pop("ARGS", None)
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=MAX_SECONDS
    )


def commands() -> list[str]:
    """Every command of a `console` block, and every `sh` block as one script, in order."""
    found = []
    for kind, block in re.findall(r"```(console|sh)\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL):
        lines = block.splitlines()
        found += [block] if kind == "sh" else [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return found


@pytest.mark.slow
@pytest.mark.timeout(MAX_SECONDS)
def test_the_demonstration_ends_with_a_captioned_lesson_on_the_screen(demonstration: str, browser: Browser) -> None:
    (address,) = re.findall(r"Watch the lesson in a browser: (\S+)", demonstration)

    # the address is all that a person needs: its captions are on
    browser.open(address)
    browser.driver.find_element(By.CSS_SELECTOR, ".big").click()
    wait_until(lambda: browser.ask(f"({SHOWN}).includes('مرحبا بكم في درس البصريات.')"), 30, "no caption is shown")
    browser.ask("void (video.currentTime = 6)")
    wait_until(lambda: browser.ask(f"({SHOWN}).join().startsWith('ينكسر الضوء')"), 30, "captions do not follow")
    assert browser.ask("video.videoWidth > 0 && video.currentTime > 5")

    # and French is one choice away
    browser.ask("(() => { const one = find('[name=captions]'); one.value = '1'; one.onchange({target: one}) })()")
    wait_until(lambda: browser.ask(f"({SHOWN}).join().includes('réfract')"), 30, "French is not shown")
    assert browser.ask("seen.errors") == []


@pytest.mark.slow
@pytest.mark.timeout(MAX_SECONDS * 2)
def test_every_command_of_the_readme_works_in_a_fresh_copy(copy: Path, demonstration: str) -> None:
    shown = commands()
    assert shown[:2] == ["make demo", "make test"]

    # `make demo` was the first command in the copy; `make test` is what runs this test, and would run itself for ever
    done = {command: run(command, copy) for command in shown[2:]}

    for command, result in done.items():
        assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    # lines are broken where a terminal ends
    demo = " ".join(demonstration.split())
    assert "0 transactions that do not sum to zero, 0 balances that differ" in demo
    assert demo.count("✓") >= 11
    assert "in full (640x360, 426x240)" in demo
    assert "wrong" not in demo.split("The whole ledger")[0]
    assert "with captions (ar, fr)" in demo
    assert "GATEWAY_URL=http://127.0.0.1:" in done["make env"].stdout

    # the first webhook: answered as shown, whatever its number, and on the wallet
    (sent,) = [result for command, result in done.items() if "curl" in command]
    (shown_answer,) = re.findall(r"```json\n(.*?)\n```", (PROJECT / "README.md").read_text())
    assert json.loads(sent.stdout) == json.loads(shown_answer) | {"event_id": json.loads(sent.stdout)["event_id"]}
    assert "2,500.00" in done["bin/nouba wallet 1"].stdout
    assert "generic" in done["bin/nouba webhooks list --since 10m"].stdout


@pytest.mark.slow
@pytest.mark.timeout(MAX_SECONDS)
@pytest.mark.usefixtures("demonstration")
def test_the_demonstration_can_be_repeated_with_the_data_of_the_first_and_leaves_nothing_running(copy: Path) -> None:
    assert run("make down", copy).returncode == 0

    again = run("make demo", copy)

    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert run("make down && make down", copy).returncode == 0
    listed = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert str(copy) not in listed


def test_every_setting_is_described() -> None:
    from services.stats.api.settings import ApiSettings
    from services.stats.settings import StatsSettings
    from services.transcoder.worker_settings import WorkerSettings
    from services.webhook_gateway.providers.settings import ProviderSettings
    from services.webhook_gateway.settings import GatewaySettings

    described = "".join(path.read_text() for path in (PROJECT / "docs").glob("*.md"))

    for kind in (GatewaySettings, StatsSettings, ApiSettings, WorkerSettings, ProviderSettings):
        prefix = str(kind.model_config["env_prefix"])
        for name in kind.model_fields:
            setting = f"{prefix}{name}".upper()
            short = "_" + setting.removeprefix("NOUBA_PSP_SATIM_")
            assert f"`{setting}`" in described or f"`{short}`" in described, f"{setting} is not described in docs/"


def test_every_link_in_the_docs_leads_somewhere() -> None:
    pages = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")]
    pages += [PROJECT / name for name in ("CHANGELOG.md", "RELEASING.md", "SECURITY.md", "SUPPORT.md")]

    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name}: {target}"
