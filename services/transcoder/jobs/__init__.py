"""Jobs, tasks and leases in PostgreSQL."""
