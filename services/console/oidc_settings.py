"""What OpenID Connect sign-in needs: the provider, this client, and which groups open the console."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from services.console.credentials import Role

#: What the provider sends the browser back to.
CALLBACK_PATH = "/enter/oidc/callback"
#: Where the provider may send the browser after it has ended its own session.
LEFT_PATH = "/enter"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """One provider, and who may enter by it."""

    issuer: str
    client_id: str
    client_secret: str
    scopes: str
    #: The ID token's claim that holds the groups or roles; dots lead into nested claims.
    roles_claim: str
    #: The ID token's claim that holds the person's name.
    name_claim: str
    operators: frozenset[str]
    viewers: frozenset[str]
    #: The console's address in browsers.
    console_url: str
    label: str

    @property
    def redirect_uri(self) -> str:
        """The address that the provider has to know, character by character."""
        return self.console_url + CALLBACK_PATH

    @property
    def left_uri(self) -> str:
        return self.console_url + LEFT_PATH

    @property
    def fingerprint(self) -> bytes:
        """Changes with each setting that decides who may enter."""
        decisive = (self.issuer, self.client_id, self.client_secret, self.scopes, self.roles_claim)
        return sha256(json.dumps([*decisive, sorted(self.operators), sorted(self.viewers)]).encode()).digest()

    def role_of(self, claims: Mapping[str, Any]) -> Role | None:
        """The highest role that the claims open; None where they open none."""
        groups = set(self.groups_of(claims))
        if groups & self.operators:
            return Role.OPERATOR
        return Role.VIEWER if groups & self.viewers else None

    def groups_of(self, claims: Mapping[str, Any]) -> list[str]:
        """The values of the claim of roles, which is one text or a list."""
        found = _find(claims, self.roles_claim)
        values = found if isinstance(found, list) else [found]
        return [value for value in values if isinstance(value, str)]

    def has_roles(self, claims: Mapping[str, Any]) -> bool:
        return _find(claims, self.roles_claim) is not None


def _find(claims: Mapping[str, Any], name: str) -> Any:
    # a name may itself have dots: https://school.example/groups
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def is_protected(address: str) -> bool:
    """Whether nobody on the way can read or change what is sent there: HTTPS, or this machine."""
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and parts.username is None and parts.password is None and parts.port != 0
    except ValueError:
        return False
    is_plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return named and not parts.fragment and (parts.scheme == "https" or is_plain)
