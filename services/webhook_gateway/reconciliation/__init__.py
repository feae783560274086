"""Polls providers for payments that are still pending."""
