"""One HTTP request, from its bytes to the answer."""
