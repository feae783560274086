"""Shows programs the audit log."""
