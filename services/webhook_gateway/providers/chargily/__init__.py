"""Chargily Pay: webhooks and checkouts."""
