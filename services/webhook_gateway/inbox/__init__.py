"""Accepts a webhook once, durably."""
