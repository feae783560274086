"""Presigned uploads of course videos."""
