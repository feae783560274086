"""Checks a published lesson against Apple's authoring specification and RFC 8216."""
