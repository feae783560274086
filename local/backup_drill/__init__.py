"""The backup drill: loses PostgreSQL and S3 under traffic, restores both, and proves that nothing is missing."""
