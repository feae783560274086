"""The operators' console, on a real database and a real RabbitMQ."""
