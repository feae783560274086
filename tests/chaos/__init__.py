"""The chaos test: everything is killed, paused and restarted while money, videos and numbers go through it."""
