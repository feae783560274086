"""Invariants and the hash chain over inbox and ledger."""
