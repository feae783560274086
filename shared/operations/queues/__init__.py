"""The queues as an operator sees them: how they stand, and which of them rest."""
