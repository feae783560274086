"""`.env.example` names every setting, and none that is gone."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

from pydantic_settings import BaseSettings

import services
import shared
from tests.architecture.source import ROOT

#: Read without pydantic, before there are settings.
PLAIN = {"NOUBA_INSTANCE", "NOUBA_SETTINGS_DIR", "NOUBA_LOG_FORMAT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_the_example_names_each_setting_once() -> None:
    # Given what the services read
    for package in (services, shared):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "settings" in module.name.rpartition(".")[2]:
                importlib.import_module(module.name)
    read = {
        f"{kind.model_config.get('env_prefix', '')}{name}".upper()
        for kind in _kinds(BaseSettings)
        if kind.__module__.startswith(("services.", "shared."))
        for name in kind.model_fields
    }

    # When the example is read
    reported = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    # Then it is the same, and nothing is there twice
    assert sorted(reported) == sorted(read | PLAIN)


def _kinds(base: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)
