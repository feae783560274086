"""Which addresses an endpoint of events may have."""

import pytest

from shared.runtime.public_addresses import PrivateAddressError, is_public, public_addresses


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::c000:c0",
        "64:ff9b:1::808:808",
        "2002:7f00:1::",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "localhost",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    assert not is_public(address)


def test_a_name_of_a_private_address_is_refused() -> None:
    with pytest.raises(PrivateAddressError):
        public_addresses("127.0.0.1", 443)
    assert public_addresses("127.0.0.1", 443, allow_private=True) == ["127.0.0.1"]
