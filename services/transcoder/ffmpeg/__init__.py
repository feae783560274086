"""One confined ffmpeg process, and the arguments it gets."""
