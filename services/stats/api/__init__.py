"""The read API of the statistics."""
