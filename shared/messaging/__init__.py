"""Dramatiq, RabbitMQ, outbox and relay."""
