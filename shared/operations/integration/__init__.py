"""Checks the tables that a school shares with Nouba, and imports users and orders from CSV."""
