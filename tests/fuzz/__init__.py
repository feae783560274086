"""What strangers might send, in thousands."""
