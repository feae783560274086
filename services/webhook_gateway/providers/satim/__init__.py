"""SATIM (CIB): callbacks, checksums and order status."""
