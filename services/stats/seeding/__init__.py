"""Fills a database with a made-up school."""
