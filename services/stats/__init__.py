"""Computes, stores and serves daily statistics."""
