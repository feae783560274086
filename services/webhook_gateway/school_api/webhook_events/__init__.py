"""Shows programs the webhook events that operators see."""
