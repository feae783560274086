"""Doctor checks of the console: the identity provider answers, and is the one of the settings."""

import os
from collections.abc import Iterator

from services.console.oidc_provider import Provider, ProviderUnavailableError
from services.console.settings import ConsoleSettings
from shared.operations.doctor.findings import Check, Finding, fault, fine
from shared.runtime.settings import read_settings, settings_dir

_ISSUER = "NOUBA_CONSOLE_OIDC_ISSUER"


def _oidc() -> Iterator[Finding]:
    folder = settings_dir()
    # without an issuer people sign in by tokens, and there is nothing to check
    if not os.environ.get(_ISSUER) and not (folder and (folder / _ISSUER).exists()):
        return
    settings = read_settings(ConsoleSettings).oidc
    if settings is None:
        return
    provider = Provider(settings)
    try:
        provider.metadata()
        provider.keys()
    except ProviderUnavailableError as error:
        yield fault(
            "console sign-in",
            f"OpenID Connect at {settings.issuer}: {error}.",
            f"Correct {_ISSUER}, or start the provider: docs/operations.md#sign-in-by-openid-connect.",
        )
        return
    yield fine(
        "console sign-in",
        f"OpenID Connect at {settings.issuer}; the redirect URI to register there is {settings.redirect_uri}",
    )


CHECKS: tuple[Check, ...] = (_oidc,)
