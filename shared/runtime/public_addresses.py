"""Resolves a host name once and refuses addresses that are not public: a guard against server-side request forgery.

Connect to the address that is returned, and not to the name: the name may lead elsewhere a moment later.
"""

import ipaddress
import socket

#: IPv6 addresses that lead to the IPv4 address in their last 32 bits, through a public translator (RFC 6052); and
#: those of a translator in one's own network (RFC 8215).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_LOCALLY_TRANSLATED = ipaddress.IPv6Network("64:ff9b:1::/48")
#: Not public, though `is_global` of Python 3.11 says so: protocol assignments (Oracle Cloud serves metadata at
#: 192.0.0.192), Azure's host (168.63.129.16), and site-local IPv6 (RFC 3879).
_ALSO_PRIVATE = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("168.63.129.16/32"),
    ipaddress.ip_network("fec0::/10"),
)


class PrivateAddressError(OSError):
    """The name leads into a private network."""


def public_addresses(host: str, port: int, *, allow_private: bool = False) -> list[str]:
    """The addresses of `host`. Raises PrivateAddressError where one is not public, OSError where there is none."""
    found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not allow_private and not all(is_public(address) for address in found):
        raise PrivateAddressError(f"{host} leads to a private address")
    return found


def is_public(address: str) -> bool:
    """Whether everybody on the internet would reach the same machine by `address`."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _LOCALLY_TRANSLATED:
            return False
        found = _inner(found) or found
    if any(found in network for network in _ALSO_PRIVATE):
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that it leads to, where it is one of a translator or a tunnel."""
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
