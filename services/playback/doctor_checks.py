"""Doctor checks of playback: its settings are valid, and its port is free or its own."""

import os
from collections.abc import Iterator

from services.playback.settings import PlaybackSettings
from shared.operations.doctor.findings import Check, Finding, fault, fine
from shared.operations.doctor.port_check import check_port
from shared.runtime.playback_links import split_secrets
from shared.runtime.settings import SettingsError, read_settings, settings_dir

_SECRETS = "NOUBA_PLAYBACK_SECRETS"


def _playback() -> Iterator[Finding]:
    folder = settings_dir()
    # a school that plays no lesson through Nouba sets nothing of it
    if not os.environ.get(_SECRETS) and not (folder and (folder / _SECRETS).exists()):
        return
    try:
        settings = read_settings(PlaybackSettings)
    except SettingsError as error:
        yield fault("playback", str(error), "Correct it: docs/playback.md has the settings.")
        return
    yield fine("playback", f"{len(split_secrets(settings.playback_secrets))} secrets verify addresses.")
    yield from check_port(
        "playback", settings.playback_host, settings.playback_port, "NOUBA_PLAYBACK_PORT", "nouba playback serve"
    )


CHECKS: tuple[Check, ...] = (_playback,)
