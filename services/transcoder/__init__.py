"""The transcoder: turns an uploaded lesson into adaptive HLS."""
