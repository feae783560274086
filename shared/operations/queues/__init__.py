"""The queues as an operator sees them: status, pause and resume."""
