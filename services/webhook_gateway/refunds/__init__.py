"""Begins refunds at providers that operators asked for."""
