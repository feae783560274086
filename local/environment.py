"""The settings of a stack on this machine: what servers and ports it has, and secrets made for it alone."""

import base64
import secrets
from collections.abc import Collection, Mapping

from local.daemon import MARK
from local.free_port import HOST
from local.saved_settings import SavedSettings

_GATEWAY_PORT = 8080
_STATS_PORT = 8081
_CONSOLE_PORT = 8082
_PLAYBACK_PORT = 8083
_PLAYER_PORT = 8084

#: The processes that serve something else than metrics: the setting that holds the port, the address's name, the port
#: that is tried first.
_SERVING = {
    "gateway": ("NOUBA_GATEWAY_PORT", "GATEWAY_URL", _GATEWAY_PORT),
    "stats-api": ("NOUBA_STATS_PORT", "STATS_URL", _STATS_PORT),
    "console": ("NOUBA_CONSOLE_PORT", "CONSOLE_URL", _CONSOLE_PORT),
    "playback": ("NOUBA_PLAYBACK_PORT", "PLAYBACK_URL", _PLAYBACK_PORT),
    "player": ("NOUBA_LOCAL_PLAYER_PORT", "PLAYER_URL", _PLAYER_PORT),
    "psp": ("NOUBA_LOCAL_PSP_PORT", "PSP_URL", None),
}

#: Stand-ins for what is the school's or a provider's; they show no metrics.
_STAND_INS = ("player", "psp")
#: What steers this program, and what each process has for itself.
_NOT_FOR_ALL = {"NOUBA_HOME", "NOUBA_INSTANCE", "NOUBA_LOCAL_PROCFILE", "NOUBA_METRICS_PORT", "NOUBA_PROCESS", MARK}


def shared_environment(
    given: Mapping[str, str], servers: Mapping[str, str], processes: Collection[str], remembered: SavedSettings
) -> dict[str, str]:
    """The settings of all processes; what the caller's own environment `given` says, wins."""
    settings = {
        "NOUBA_TIMEZONE": "Africa/Algiers",
        "NOUBA_PAYMENTS_MODE": "test",
        "NOUBA_EVENTS_ALLOW_PRIVATE": "true",
        **servers,
        **_secrets(remembered),
    }
    # its processes answer with this; another stack that took one of their ports answers with its own
    settings["NOUBA_INSTANCE"] = secrets.token_hex(8)
    addresses = {}
    for process in processes:
        if process in _SERVING:
            setting, address, preferred = _SERVING[process]
            port = given.get(setting) or str(remembered.port(process, preferred))
            settings[setting] = port
            addresses[address] = f"http://{HOST}:{port}"
    if "gateway" in processes:
        settings["NOUBA_GATEWAY_HOST"] = HOST
        # the school's application on this machine, on whatever port it is
        settings["NOUBA_CHECKOUT_RETURN_URLS"] = f"http://{HOST},http://localhost"
    if "PSP_URL" in addresses:
        settings["NOUBA_PSP_SATIM_BASE_URL"] = f"{addresses['PSP_URL']}/payment/rest"
        settings["NOUBA_PSP_CHARGILY_BASE_URL"] = addresses["PSP_URL"]
        settings["NOUBA_PSP_STRIPE_BASE_URL"] = addresses["PSP_URL"]
        # for the simulator alone: Stripe itself is never asked with a key that was made up
        settings["NOUBA_PSP_STRIPE_API_KEY"] = remembered.text(
            "NOUBA_PSP_STRIPE_API_KEY", lambda: f"sk_test_{secrets.token_hex(20)}"
        )
    if "PLAYBACK_URL" in addresses:
        settings["NOUBA_PLAYBACK_URL"] = addresses["PLAYBACK_URL"]
    wishes = wishes_of(given)
    # an empty address of a server stands for none; an empty secret is the process's to refuse
    return {**settings, **{name: value for name, value in wishes.items() if value or name not in servers}, **addresses}


def wishes_of(given: Mapping[str, str]) -> dict[str, str]:
    """The settings of the caller's own environment that win over those of the stack."""
    return {name: value for name, value in given.items() if name.startswith("NOUBA_") and name not in _NOT_FOR_ALL}


def own_environments(
    given: Mapping[str, str], processes: Collection[str], remembered: SavedSettings
) -> dict[str, dict[str, str]]:
    """Further settings of each process."""
    own = {
        process: {} if process in _STAND_INS else {"NOUBA_METRICS_PORT": str(remembered.port(f"{process} metrics"))}
        for process in processes
    }
    if "stats-api" in own and not given.get("NOUBA_API_TOKENS"):
        # only this machine reads the dashboard here: with a made-up token a browser would ask for a password
        own["stats-api"]["NOUBA_API_TOKENS"] = ""
    return own


def metrics_addresses(own: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Where Prometheus reads each process, by the name that `make env` gives it: GATEWAY_METRICS_URL and so on."""
    return {
        f"{process.upper().replace('-', '_')}_METRICS_URL": f"http://{HOST}:{settings['NOUBA_METRICS_PORT']}/metrics"
        for process, settings in own.items()
        if "NOUBA_METRICS_PORT" in settings
    }


def health_addresses(shared: Mapping[str, str]) -> dict[str, str]:
    """By process, where `/healthz` of a stack with these settings is."""
    return {process: f"{shared[address]}/healthz" for process, (_, address, _) in _SERVING.items() if address in shared}


def _secrets(remembered: SavedSettings) -> dict[str, str]:
    # each has the form that its provider gives out
    makers = {
        "NOUBA_API_TOKENS": lambda: f"nouba_{secrets.token_hex(20)}",
        "NOUBA_PLAYBACK_SECRETS": lambda: secrets.token_hex(32),
        "NOUBA_CONSOLE_OPERATOR_TOKENS": lambda: secrets.token_hex(20),
        "NOUBA_CONSOLE_VIEWER_TOKENS": lambda: secrets.token_hex(20),
        "NOUBA_PSP_CHARGILY_SECRETS": lambda: f"test_sk_{secrets.token_hex(20)}",
        "NOUBA_PSP_STANDARD_WEBHOOKS_SECRETS": lambda: f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
        "NOUBA_PSP_STRIPE_SECRETS": lambda: f"whsec_{secrets.token_hex(16)}",
        "NOUBA_PSP_GENERIC_SECRETS": lambda: secrets.token_hex(20),
        "NOUBA_PSP_GENERIC_HEADER": lambda: "X-Signature",
        "NOUBA_PSP_SATIM_USERNAME": lambda: "SAT0000000001",
        "NOUBA_PSP_SATIM_PASSWORD": lambda: secrets.token_hex(12),
        "NOUBA_PSP_SATIM_TERMINAL": lambda: "E000000001",
    }
    return {name: remembered.text(name, make) for name, make in makers.items()}
