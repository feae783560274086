"""`nouba doctor` on real servers: silent where all is well, and one seeded fault at a time."""
