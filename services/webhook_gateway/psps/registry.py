"""Which providers there are, and which of them the settings switch on."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from services.webhook_gateway.psps.base import Clock, Psp
from services.webhook_gateway.psps.chargily import Chargily
from services.webhook_gateway.psps.generic import Generic
from services.webhook_gateway.psps.satim import Satim
from services.webhook_gateway.psps.settings import PspSettings
from services.webhook_gateway.psps.standard_webhooks import StandardWebhooks
from services.webhook_gateway.psps.stripe import Stripe

#: One line a provider: the name in the address, and how its adapter is made of the settings.
_BUILDERS: Final[Mapping[str, Callable[[PspSettings, Clock], Psp | None]]] = {
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


def enabled(settings: PspSettings, now: Clock = lambda: datetime.now(UTC)) -> dict[str, Psp]:
    """The providers that are switched on, by the name in the address. Raises NotReady for a secret that cannot be."""
    built = {name: build(settings, now) for name, build in _BUILDERS.items()}
    return {name: psp for name, psp in built.items() if psp is not None}
