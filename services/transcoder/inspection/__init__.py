"""What an upload is."""
