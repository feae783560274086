"""`pytest tests/stats --hypothesis-profile thorough` tells thousands of histories instead of a hundred."""

from hypothesis import settings

settings.register_profile("thorough", max_examples=5000)
