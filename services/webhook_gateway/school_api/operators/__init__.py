"""Shows programs what operators see: webhook events, dead letters, the audit log."""
