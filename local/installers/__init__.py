"""Finds the programs that servers and tests need, or installs the system's package or a pinned download."""
