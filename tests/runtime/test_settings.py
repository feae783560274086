"""Settings come from the environment, and what is not there from a folder of files."""

from pathlib import Path

import pytest

from services.webhook_gateway.providers.settings import plain
from services.webhook_gateway.providers.settings import read_settings as read_psp_settings
from shared.runtime.settings import DatabaseSettings, SettingsError, read_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NOUBA_SETTINGS_DIR", str(tmp_path))
    return tmp_path


def test_a_setting_is_read_from_the_file_of_its_name(folder: Path) -> None:
    (folder / "NOUBA_DATABASE_URL").write_text("postgresql://kept\n")
    (folder / "NOUBA_PSP_GENERIC_SECRETS").write_text("one, two\n")

    assert read_settings(DatabaseSettings).database_url.get_secret_value() == "postgresql://kept"
    assert plain(read_psp_settings().generic_secrets) == ["one", "two"]


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "NOUBA_DATABASE_URL").write_text("postgresql://kept")
    monkeypatch.setenv("NOUBA_DATABASE_URL", "postgresql://given")

    assert read_settings(DatabaseSettings).database_url.get_secret_value() == "postgresql://given"


def test_a_provider_without_a_file_is_off(folder: Path) -> None:
    assert read_psp_settings().stripe_secrets is None


def test_an_empty_secret_is_refused(folder: Path) -> None:
    (folder / "NOUBA_PSP_STRIPE_SECRETS").write_text("")

    with pytest.raises(Exception, match=r"NOUBA_PSP_STRIPE_SECRETS is empty"):
        read_psp_settings()


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOUBA_SETTINGS_DIR", str(tmp_path / "none"))

    with pytest.raises(SettingsError, match=r"NOUBA_SETTINGS_DIR: .*none is no folder that this process may read"):
        read_settings(DatabaseSettings)
