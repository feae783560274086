"""Defects that our own code could have, put into a copy of it on purpose: the suite has to notice each."""
