"""Accepts payment webhooks and settles them."""
