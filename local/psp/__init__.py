"""A payment provider on this machine: answers like SATIM's bank, and sends signed events of every provider."""
