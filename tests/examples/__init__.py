"""The examples, each run as its reader runs it."""
