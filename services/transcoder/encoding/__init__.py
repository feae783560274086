"""Makes media from a plan."""
