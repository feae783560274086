"""Endpoints of events, for the school's back end."""
