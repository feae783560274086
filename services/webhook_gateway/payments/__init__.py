"""The payment domain, pure: payment state, ledger, subscriptions."""
