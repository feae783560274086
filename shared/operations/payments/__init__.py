"""Payments, wallets and corrections, as support sees and makes them."""
