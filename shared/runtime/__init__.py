"""Settings, logs, metrics, database, HTTP server and threads: what every process needs."""
