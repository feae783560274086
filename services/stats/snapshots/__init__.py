"""Computes, stores and verifies daily snapshots."""
