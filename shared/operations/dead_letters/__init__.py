"""Dead letters: a row for every message that no worker could handle, to be replayed or discarded."""
