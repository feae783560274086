"""Finds the rows behind a number, one page at a time."""
