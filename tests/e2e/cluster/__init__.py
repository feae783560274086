"""Plays faults against the cluster of deploy/ha: `make cluster-test`."""
