"""Measures films and lessons with plain ffmpeg alone: flashes, beeps, frames and shapes. None of it is our code."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: When the picture is white and the sound beeps, in seconds; irregular, so that no shift resembles another.
MARKS = (0.6, 2.2, 3.1, 5.4, 6.0, 8.3, 9.1, 11.2, 12.9, 13.4, 15.7, 16.3, 18.8)
MARK_SECONDS = 0.08
#: Steps in which a picture track of any rate is sampled.
STEP_SECONDS = 0.01
#: Samples beyond ±2048, by their high bytes.
_LOUD = re.compile(rb"[\x08-\xf7]+")


def picture(seconds: float, size: str = "160x90", rate: str = "25", first: float = 0.0) -> list[str]:
    """ffmpeg's arguments for a black picture that is white at each mark; it begins `first` seconds into the film."""
    marks = "+".join(f"between(t+{first},{at},{at + MARK_SECONDS - 0.001})" for at in MARKS)
    chain = f"color=black:s={size}:r={rate}:d={seconds},drawbox=t=fill:color=white:enable='{marks}'"
    return ["-f", "lavfi", "-i", chain]


def sound(seconds: float, first: float = 0.0, layout: str = "mono") -> list[str]:
    """ffmpeg's arguments for silence that beeps at each mark; it begins `first` seconds into the film."""
    marks = "+".join(f"between(t+{first},{at},{at + MARK_SECONDS})" for at in MARKS)
    chain = f"aevalsrc='0.5*sin(6283*t)*({marks})':s=48000:d={seconds - first},aformat=channel_layouts={layout}"
    return ["-f", "lavfi", "-i", chain]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a player would show: when flashes and beeps begin, how many frames there are, and when the last one ends."""

    flashes: list[float]
    beeps: list[float]
    frames: int
    seconds: float


def film(path: Path, folder: Path) -> Seen:
    """What plain ffmpeg makes of the whole of `path`, both tracks in one process, so that they share one clock."""
    grey, wave, crc = folder / "oracle.gray", folder / "oracle.s16", folder / "oracle.crc"
    steps = f"fps={round(1 / STEP_SECONDS)}:start_time=0,scale=1:1,format=gray"
    tracks = _tracks(path)
    call = ["-i", str(path)]
    if "video" in tracks:
        call += ["-map", "0:V:0", "-vf", steps, "-f", "rawvideo", str(grey)]
        call += ["-map", "0:V:0", "-fps_mode", "passthrough", "-f", "framecrc", str(crc)]
    if "audio" in tracks:
        call += ["-map", "0:a:0", "-af", "aresample=48000:async=1:first_pts=0", "-ac", "1", "-f", "s16le", str(wave)]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "fatal", "-y", *call], check=True, capture_output=True, timeout=120)
    frames, end = frames_of(crc) if "video" in tracks else (0, 0.0)
    flashes = flashes_of(grey.read_bytes(), STEP_SECONDS) if "video" in tracks else []
    beeps = beeps_of(wave) if "audio" in tracks else []
    return Seen(flashes, beeps, frames, end or wave.stat().st_size / 96_000)


def rendition(folder: Path, rate: float) -> tuple[list[float], int]:
    """Flashes of one rendition of a lesson, and its number of frames."""
    data = folder / "oracle.mp4"
    data.write_bytes(_joined(folder))
    call = ["-i", str(data), "-vf", "scale=1:1", "-pix_fmt", "gray", "-f", "rawvideo", "-fps_mode", "passthrough"]
    pixels = _decoded(call)
    data.unlink()
    return flashes_of(pixels, 1 / rate), len(pixels)


def beeps(folder: Path) -> list[float]:
    """Beeps of one sound of a lesson."""
    data, wave = folder / "oracle.mp4", folder / "oracle.s16"
    data.write_bytes(_joined(folder))
    wave.write_bytes(_decoded(["-i", str(data), "-ac", "1", "-ar", "48000", "-f", "s16le"]))
    found = beeps_of(wave)
    data.unlink()
    wave.unlink()
    return found


def white_box(folder: Path, width: int, height: int, frame: int) -> tuple[int, int]:
    """Width and height of what is bright in frame number `frame` of a rendition: a circle stays as high as wide."""
    data = folder / "oracle.mp4"
    data.write_bytes(_joined(folder))
    picked = ["-vf", f"select=eq(n\\,{frame})", "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo"]
    pixels = _decoded(["-i", str(data), *picked])
    data.unlink()
    rows = [y for y in range(height) if max(pixels[y * width : (y + 1) * width]) > 128]
    columns = [x for x in range(width) if max(pixels[x::width]) > 128]
    return columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1


def size_of(folder: Path) -> list[str]:
    """Width and height that a rendition's bytes have."""
    data = folder / "oracle.mp4"
    data.write_bytes(_joined(folder))
    found = probe(data, "-select_streams", "v", "-show_entries", "stream=width,height")[0].split(",")
    data.unlink()
    return found[:2]


def probe(path: Path, *entries: str) -> list[str]:
    """One line for each answer of ffprobe."""
    call = ["ffprobe", "-v", "error", *entries, "-of", "csv=p=0", str(path)]
    return subprocess.run(call, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def _tracks(path: Path) -> set[str]:
    return {line.strip(",") for line in probe(path, "-show_entries", "stream=codec_type")}


def frames_of(crc: Path) -> tuple[int, float]:
    lines = crc.read_text().splitlines()
    base = next(line for line in lines if line.startswith("#tb"))
    numerator, _, denominator = base.split()[-1].partition("/")
    rows = [line.split(",") for line in lines if line and not line.startswith("#")]
    ends = [int(row[2]) + int(row[3]) for row in rows]
    return len(rows), max(ends, default=0) * int(numerator) / int(denominator)


def _joined(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in [folder / "init.mp4", *sorted(folder.glob("[0-9]*.m4s"))])


def _decoded(arguments: list[str]) -> bytes:
    call = ["ffmpeg", "-nostdin", "-v", "error", *arguments, "pipe:1"]
    return subprocess.run(call, check=True, capture_output=True, timeout=60).stdout


def flashes_of(pixels: bytes, step: float) -> list[float]:
    return [i * step for i in range(1, len(pixels)) if pixels[i] > 128 >= pixels[i - 1]]


def beeps_of(wave: Path) -> list[float]:
    starts: list[float] = []
    last = -1_000_000
    for loud in _LOUD.finditer(wave.read_bytes()[1::2]):
        if loud.start() - last > 12_000:
            starts.append(loud.start() / 48_000)
        last = loud.end() - 1
    return starts
