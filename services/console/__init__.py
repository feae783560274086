"""The operators' web console: queues, dead letters, webhooks, lessons, payments, and the actions on them."""
