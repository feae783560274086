"""The spool: where webhooks wait, on this machine's disk, while the database is away."""
