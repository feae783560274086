"""The providers' settings: off without any, refused with an empty or impossible one, and secret in every rendering."""

import pytest

from services.webhook_gateway.errors import NotReadyError
from services.webhook_gateway.providers.registry import NAMES, enabled
from services.webhook_gateway.providers.satim.webhooks import Satim
from services.webhook_gateway.providers.settings import ProviderSettings, read_settings

SATIM = {"satim_username": "merchant", "satim_password": "merchant-password"}
EVERYTHING = {
    "chargily_secrets": "test_sk_a,live_sk_b",
    "standard_webhooks_secrets": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "stripe_secrets": "whsec_c",
    "generic_secrets": "d",
    **SATIM,
}


def test_without_settings_every_provider_is_off() -> None:
    assert enabled(read_settings()) == {}


def test_addresses_alone_switch_nothing_on() -> None:
    settings = read_settings(generic_header="X-Sum", satim_base_url="https://test2.satim.dz/payment/rest")

    assert enabled(settings) == {}


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOUBA_PSP_GENERIC_SECRETS", "one, two")
    monkeypatch.setenv("NOUBA_PSP_GENERIC_HEADER", "X-School-Signature")

    settings = read_settings()

    assert [secret.get_secret_value() for secret in settings.generic_secrets or ()] == ["one", "two"]
    assert settings.generic_header == "X-School-Signature"


def test_with_all_settings_every_provider_is_on_under_every_name() -> None:
    providers = enabled(read_settings(**EVERYTHING))

    assert tuple(providers) == NAMES
    assert {name: psp.name for name, psp in providers.items()} == {name: name for name in NAMES} | {"cib": "satim"}


def test_no_rendering_of_the_settings_or_an_adapter_shows_a_secret() -> None:
    settings = read_settings(**EVERYTHING | {"generic_secrets": "CANARY", "satim_password": "CANARY"})

    for thing in (settings, settings.model_dump(), *enabled(settings).values()):
        assert "CANARY" not in f"{thing!r} {thing!s}"


@pytest.mark.parametrize("name", [name for name in ProviderSettings.model_fields if name != "satim_checksum_keys"])
@pytest.mark.parametrize("value", ["", "  "])
def test_a_setting_that_is_there_but_empty_is_a_refusal_to_start_that_names_it(name: str, value: str) -> None:
    with pytest.raises(NotReadyError, match=f"NOUBA_PSP_{name.upper()} "):
        read_settings(**EVERYTHING | {name: value})


@pytest.mark.parametrize(
    "name",
    ["chargily_secrets", "standard_webhooks_secrets", "stripe_secrets", "generic_secrets", "satim_checksum_keys"],
)
@pytest.mark.parametrize("value", [",", "CANARY,", ",CANARY", "CANARY,,CANARY"])
def test_an_empty_element_of_a_list_is_refused_and_the_rest_not_shown(name: str, value: str) -> None:
    with pytest.raises(NotReadyError, match=f"NOUBA_PSP_{name.upper()} is empty or has an empty element") as refusal:
        read_settings(**{name: value})

    assert "CANARY" not in str(refusal.value)


@pytest.mark.parametrize(
    ("values", "fix"),
    [
        ({"chargily_secrets": "test_pk_CANARY"}, "CHARGILY_SECRETS .* API secret key"),
        ({"chargily_secrets": "live_sk_a,whsec_CANARY"}, "CHARGILY_SECRETS .* API secret key"),
        ({"stripe_secrets": "sk_live_CANARY"}, "STRIPE_SECRETS .* signing secret"),
        ({"standard_webhooks_secrets": "whsec_CANARY!"}, "STANDARD_WEBHOOKS_SECRETS .* base64"),
        ({"generic_header": "X Signature:"}, "GENERIC_HEADER .* name of an HTTP header"),
        ({"satim_username": "merchant"}, "SATIM_USERNAME and NOUBA_PSP_SATIM_PASSWORD must both be set"),
        ({"satim_password": "CANARY"}, "SATIM_USERNAME and NOUBA_PSP_SATIM_PASSWORD must both be set"),
        ({**SATIM, "satim_base_url": "http://cib.satim.dz/payment/rest"}, "SATIM_BASE_URL must begin with https"),
        ({**SATIM, "satim_base_url": "cib.satim.dz"}, "SATIM_BASE_URL must begin with https"),
        ({**SATIM, "satim_return_url": "javascript:alert(1)"}, "SATIM_RETURN_URL must begin with https"),
        ({**SATIM, "satim_checksum_mode": "md5"}, "SATIM_CHECKSUM_MODE"),
        ({**SATIM, "satim_checksum_mode": "hmac_sha256"}, "SATIM_CHECKSUM_MODE and .*_KEYS belong together"),
        ({**SATIM, "satim_checksum_keys": "CANARY"}, "SATIM_CHECKSUM_MODE and .*_KEYS belong together"),
        ({**SATIM, "satim_checksum_mode": "rsa_sha512", "satim_checksum_keys": "CANARY"}, "SATIM_CHECKSUM_KEYS .* PEM"),
    ],
)
def test_what_cannot_be_is_refused_with_the_fix_and_without_the_value(values: dict[str, str], fix: str) -> None:
    with pytest.raises(NotReadyError, match=f"NOUBA_PSP_{fix}") as refusal:
        enabled(read_settings(**values))

    assert "CANARY" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["https://test2.satim.dz/payment/rest", "http://127.0.0.1:8092/payment/rest", "http://psp:8092/payment/rest"]
)
def test_the_bank_may_live_behind_tls_or_on_this_machine_or_in_a_container_beside(url: str) -> None:
    assert isinstance(enabled(read_settings(**SATIM, satim_base_url=url))["cib"], Satim)
