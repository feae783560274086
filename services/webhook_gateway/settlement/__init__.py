"""Settlement: books accepted events to payments, ledger, wallets and subscriptions."""
