"""Automatic captions: speech of a lesson as text."""
