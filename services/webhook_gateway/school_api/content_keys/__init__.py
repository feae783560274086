"""Content keys of encrypted lessons, for the school's back end."""
