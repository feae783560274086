"""The registry of providers, and which of them are enabled."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from services.webhook_gateway.providers.base import Clock, Provider
from services.webhook_gateway.providers.chargily.webhooks import Chargily
from services.webhook_gateway.providers.generic import Generic
from services.webhook_gateway.providers.satim.webhooks import Satim
from services.webhook_gateway.providers.settings import ProviderSettings
from services.webhook_gateway.providers.standard_webhooks import StandardWebhooks
from services.webhook_gateway.providers.stripe import Stripe

#: One line a provider: the name in the address, and how its adapter is made of the settings.
_BUILDERS: Final[Mapping[str, Callable[[ProviderSettings, Clock], Provider | None]]] = {
    "chargily": Chargily.build,
    "satim": Satim.build,
    # CIB is the card; its payments run over SATIM, so they share SATIM's name in every table
    "cib": Satim.build,
    "standard_webhooks": StandardWebhooks.build,
    "stripe": Stripe.build,
    "generic": Generic.build,
}

#: Every name that can stand in the address, whether switched on or not.
NAMES: Final[tuple[str, ...]] = tuple(_BUILDERS)


def enabled(settings: ProviderSettings, now: Clock = lambda: datetime.now(UTC)) -> dict[str, Provider]:
    """The enabled providers, by the name in the address. Raises NotReadyError for a secret that cannot be."""
    built = {name: build(settings, now) for name, build in _BUILDERS.items()}
    return {name: psp for name, psp in built.items() if psp is not None}
