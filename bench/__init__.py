"""Measures Nouba beside what else could be picked, in one run on one machine; `make bench` prints the table."""
