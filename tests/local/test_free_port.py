"""Ports and other values that are chosen once and remembered."""

import socket
import stat
from pathlib import Path

import pytest

from local.free_port import HIGHEST, HOST, LOWEST, free_port, is_free
from local.saved_settings import SavedSettings, read_private


def test_a_chosen_port_is_free_and_none_that_the_system_gives_to_outgoing_connections() -> None:
    port = free_port()

    assert LOWEST <= port <= HIGHEST
    with socket.create_server((HOST, port)):
        assert not is_free(port)


def test_a_port_is_the_same_next_time_until_somebody_takes_it(tmp_path: Path) -> None:
    # Given
    first = SavedSettings(tmp_path / "chosen.json").port("gateway")

    # When asked again, by another process
    assert SavedSettings(tmp_path / "chosen.json").port("gateway") == first

    # When somebody has taken it
    with socket.create_server((HOST, first)):
        second = SavedSettings(tmp_path / "chosen.json").port("gateway")

    # Then another one is chosen, and kept from now on
    assert second != first
    assert SavedSettings(tmp_path / "chosen.json").port("gateway") == second


def test_the_preferred_port_is_taken_where_it_is_free_and_never_twice(tmp_path: Path) -> None:
    preferred = free_port()
    remembered = SavedSettings(tmp_path / "chosen.json")

    assert remembered.port("gateway", preferred) == preferred
    assert remembered.port("stats", preferred) != preferred


def test_what_is_remembered_is_chosen_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "chosen.json"

    assert SavedSettings(path).text("password", lambda: "first") == "first"
    assert SavedSettings(path).text("password", lambda: "second") == "first"
    assert SavedSettings(path)["password"] == "first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_private(path) == {"password": "first"}


def test_what_was_never_chosen_is_an_error_and_not_a_guess(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        SavedSettings(tmp_path / "chosen.json")["password"]
