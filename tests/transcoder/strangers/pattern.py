"""What every film of the corpus shows and sounds: coloured patches, and a white square and a beep at each mark."""

#: When the square is white and the sound beeps, in seconds; irregular, so that no shift resembles another.
MARKS = (0.6, 2.2, 3.1, 4.6, 5.4)
MARK_SECONDS = 0.12
SECONDS = 6.0
#: Left half, from left to right and from top to bottom.
PATCHES = ("0xB03030", "0x30A040", "0x3040B0", "0x808080")


def picture(size: str = "320x180", rate: str = "25", seconds: float = SECONDS, first: float = 0.0) -> str:
    """The lavfi source of the picture; it begins `first` seconds into the film."""
    width, height = map(int, size.split("x"))
    quarter, half = width // 4, height // 2
    boxes = [
        f"drawbox=x={quarter * (i % 2)}:y={half * (i // 2)}:w={quarter}:h={half}:t=fill:color={colour}"
        for i, colour in enumerate(PATCHES)
    ]
    side = 2 * int(0.35 * min(width / 2, height))
    left, top = width * 3 // 4 - side // 2, height // 2 - side // 2
    boxes.append(f"drawbox=x={left}:y={top}:w={side}:h={side}:t=fill:color=white:enable='{_marks(first)}'")
    return f"color=black:s={size}:r={rate}:d={seconds},{','.join(boxes)}"


def sound(layout: str = "mono", seconds: float = SECONDS, first: float = 0.0, rate: int = 48_000) -> str:
    """The lavfi source of the sound; it begins `first` seconds into the film."""
    wave = f"aevalsrc='0.5*sin(6283*t)*({_marks(first)})':s={rate}:d={seconds - first}"
    return f"{wave},aformat=channel_layouts={layout}"


def _marks(first: float) -> str:
    return "+".join(f"between(t+{first},{at},{at + MARK_SECONDS - 0.001:.3f})" for at in MARKS)
