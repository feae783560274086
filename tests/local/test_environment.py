"""Settings of a stack's processes."""

from pathlib import Path

from local.environment import metrics_addresses, own_environments, shared_environment
from local.saved_settings import SavedSettings

SERVERS = {"NOUBA_DATABASE_URL": "postgresql://ours", "NOUBA_S3_BUCKET": "nouba"}


def test_what_the_caller_set_wins_but_an_empty_address_of_a_server_means_none(tmp_path: Path) -> None:
    given = {
        "NOUBA_TIMEZONE": "Europe/Paris",
        "NOUBA_DATABASE_URL": "",
        "NOUBA_PSP_GENERIC_SECRETS": "",
        "PATH": "/bin",
    }

    settings = shared_environment(given, SERVERS, [], SavedSettings(tmp_path / "chosen.json"))

    assert settings["NOUBA_TIMEZONE"] == "Europe/Paris"
    assert settings["NOUBA_DATABASE_URL"] == "postgresql://ours"
    # an empty secret is a mistake that the gateway refuses to start with
    assert settings["NOUBA_PSP_GENERIC_SECRETS"] == ""
    assert "PATH" not in settings


def test_secrets_are_made_once(tmp_path: Path) -> None:
    first = shared_environment({}, SERVERS, [], SavedSettings(tmp_path / "chosen.json"))
    second = shared_environment({}, SERVERS, [], SavedSettings(tmp_path / "chosen.json"))

    # a start has a name of its own
    assert first.pop("NOUBA_INSTANCE") != second.pop("NOUBA_INSTANCE")
    assert first == second
    assert first["NOUBA_API_TOKENS"]


def test_satim_is_asked_at_the_simulator_where_one_runs(tmp_path: Path) -> None:
    remembered = SavedSettings(tmp_path / "chosen.json")

    without = shared_environment({}, SERVERS, ["gateway"], remembered)
    settings = shared_environment({}, SERVERS, ["gateway", "psp"], remembered)

    assert "NOUBA_PSP_SATIM_BASE_URL" not in without
    assert settings["NOUBA_PSP_SATIM_BASE_URL"] == f"http://127.0.0.1:{settings['NOUBA_LOCAL_PSP_PORT']}/payment/rest"


def test_stripe_is_asked_at_the_simulator_with_a_made_up_key_and_never_elsewhere(tmp_path: Path) -> None:
    remembered = SavedSettings(tmp_path / "chosen.json")

    without = shared_environment({}, SERVERS, ["gateway"], remembered)
    settings = shared_environment({}, SERVERS, ["gateway", "psp"], remembered)

    assert "NOUBA_PSP_STRIPE_API_KEY" not in without
    assert settings["NOUBA_PSP_STRIPE_API_KEY"].startswith("sk_test_")
    assert settings["NOUBA_PSP_STRIPE_BASE_URL"] == settings["PSP_URL"]


def test_an_address_is_printed_only_for_what_runs(tmp_path: Path) -> None:
    remembered = SavedSettings(tmp_path / "chosen.json")

    assert "STATS_URL" not in shared_environment({}, SERVERS, ["gateway"], remembered)
    settings = shared_environment({}, SERVERS, ["gateway", "stats-api"], remembered)
    assert settings["STATS_URL"] == f"http://127.0.0.1:{settings['NOUBA_STATS_PORT']}"


def test_addresses_of_lessons_lead_to_the_playback_service(tmp_path: Path) -> None:
    settings = shared_environment(
        {}, SERVERS, ["gateway", "playback", "player"], SavedSettings(tmp_path / "chosen.json")
    )

    assert settings["NOUBA_PLAYBACK_URL"] == f"http://127.0.0.1:{settings['NOUBA_PLAYBACK_PORT']}"
    assert settings["PLAYER_URL"] == f"http://127.0.0.1:{settings['NOUBA_LOCAL_PLAYER_PORT']}"
    assert len(settings["NOUBA_PLAYBACK_SECRETS"]) >= 32


def test_each_process_has_a_metrics_port_of_its_own_except_the_stand_ins(tmp_path: Path) -> None:
    own = own_environments({}, ["gateway", "payments-worker", "psp", "player"], SavedSettings(tmp_path / "chosen.json"))

    addresses = metrics_addresses(own)
    assert set(addresses) == {"GATEWAY_METRICS_URL", "PAYMENTS_WORKER_METRICS_URL"}
    assert len(set(addresses.values())) == 2
