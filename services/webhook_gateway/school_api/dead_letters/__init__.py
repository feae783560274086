"""Shows programs the dead letters that operators see."""
