"""Creates, lists and revokes API tokens, and finds the one that a request carries."""
