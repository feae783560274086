"""Dead letters: every message that nobody could handle becomes a row, to be looked at, replayed or discarded."""
