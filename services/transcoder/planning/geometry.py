"""The display size of a source's picture: after rotation, with square pixels. Pure."""

from fractions import Fraction
from typing import Any


def rotation_of(stream: dict[str, Any]) -> int:
    """How far players turn the picture, clockwise: 0, 90, 180 or 270 degrees."""
    for data in stream.get("side_data_list", []):
        if "rotation" in data:
            return round(-float(data["rotation"]) / 90) * 90 % 360
    return round(float(stream.get("tags", {}).get("rotate", 0)) / 90) * 90 % 360


def display_size(stream: dict[str, Any]) -> tuple[int, int]:
    """Width and height as seen. Pixels that are not square stretch the picture, never shrink it."""
    width, height = int(stream["width"]), int(stream["height"])
    aspect = _pixel_aspect(stream.get("sample_aspect_ratio", "1:1"))
    if aspect > 1:
        width = round(width * aspect)
    elif aspect < 1:
        height = round(height / aspect)
    return (height, width) if rotation_of(stream) in (90, 270) else (width, height)


def _pixel_aspect(text: str) -> Fraction:
    across, _, down = text.partition(":")
    if not across.isdigit() or not down.isdigit() or int(across) == 0 or int(down) == 0:
        return Fraction(1)
    aspect = Fraction(int(across), int(down))
    # beyond this it is a mistake in the file, not a picture
    return aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)


def even(value: float | Fraction) -> int:
    """The nearest even size: H.264 in 4:2:0 has no other."""
    return max(2, round(value / 2) * 2)
