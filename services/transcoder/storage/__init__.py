"""The object store (S3)."""
