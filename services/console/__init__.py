"""The operators' pages: what runs, what waits, what died, and the few things that a person decides."""
