"""Creates checkouts at providers."""
