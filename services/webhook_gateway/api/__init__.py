"""The frame of the HTTP API: one declaration of a route checks its requests and documents it."""
