"""Retention: erases old bodies, dead letters, audit entries and statistics, and one person's data on request."""
