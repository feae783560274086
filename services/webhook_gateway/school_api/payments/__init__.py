"""Registers payments before their first webhook."""
