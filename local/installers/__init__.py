"""Finds or installs the programs that the servers need."""
