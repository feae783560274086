"""MP4 boxes, playlists, packaging and encryption."""
