"""Endpoints that events are delivered to, and their deliveries, for the API, the command line and the console."""
