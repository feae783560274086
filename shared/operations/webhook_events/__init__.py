"""The inbox as operators see it: to be found, followed and settled again."""
