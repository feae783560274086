"""Keys of encrypted lessons, for the school back end."""
