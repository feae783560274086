"""Formats, protocols and bounds of what ffmpeg may open; everything else is rejected unread."""

#: Real containers only. Left out on purpose: playlists (hls, dash, concat), images, subtitles, devices, networks.
FORMATS = (
    "mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "dv", "mxf", "ivf",
    "mp3", "wav", "w64", "flac", "aac", "ac3", "eac3", "dts", "aiff", "caf", "au", "amr", "wv", "tta", "ape",
)  # fmt: skip

#: 8192 x 4320.
MAX_PIXELS = 8192 * 4320
MAX_STREAMS = 32
MAX_SECONDS = 8 * 3600.0
#: A picture that stands longer than this is a broken clock, not a slide.
MAX_HOLE_SECONDS = 1800.0
MIN_SIDE = 16
MAX_AUDIO_TRACKS = 8
MAX_RATE = 480

#: Arguments that stand before `-i` wherever an untrusted file is opened.
INPUT = (
    "-protocol_whitelist", "file",
    "-format_whitelist", ",".join(FORMATS),
    "-max_pixels", str(MAX_PIXELS),
    "-max_streams", str(MAX_STREAMS),
    "-probesize", "20M",
    "-analyzeduration", "20M",
)  # fmt: skip
