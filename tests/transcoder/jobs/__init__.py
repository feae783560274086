"""The transcoder's jobs on real servers."""
