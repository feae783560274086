"""The dashboard of a day: one page in three languages."""
