"""Rotates every secret of a running system under load, and proves that no event is lost: `make rotate-drill`."""
