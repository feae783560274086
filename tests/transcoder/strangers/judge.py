"""Measures a film and the lesson made of it with plain ffmpeg alone, and compares the two."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.transcoder import oracle
from tests.transcoder.strangers.pattern import PATCHES
from tests.transcoder.strangers.recipes import Recipe

#: Steps in which a picture track of any rate is sampled.
STEP_SECONDS = 0.01
#: The middle of the second mark, in a film whose picture begins at once: one process measures marks and pictures.
_POLL_SECONDS = 2.25
#: What x264 makes of a flat colour at this quality.
MAX_COLOUR = 12
#: A strip inside the white square, as shares of the picture.
_STRIP = "crop=iw/16:ih/10:iw*23/32:ih*9/20"
Colour = tuple[int, int, int]
DRAWN: list[Colour] = [(int(one[2:4], 16), int(one[4:6], 16), int(one[6:8], 16)) for one in PATCHES]


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame in which the square is white: the square's width by its height, and the patches' colours."""

    shape: float
    colours: list[Colour]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a viewer gets: when the square and the beep begin, how many frames there are, and when the last one ends."""

    flashes: list[float]
    beeps: list[float]
    frames: int
    seconds: float
    picture: Picture | None

    @property
    def offsets(self) -> list[float | None]:
        """How much later than the square the beep comes, for each square that has one."""
        nearest = [min((beep - flash for beep in self.beeps), key=abs, default=9.0) for flash in self.flashes]
        return [offset if abs(offset) < 0.35 else None for offset in nearest]


@dataclass(slots=True)
class Verdict:
    """The figures of one film beside its lesson; `faults` says what is not as it should be."""

    film: Seen
    lesson: dict[str, Seen]
    rate: float
    faults: list[str] = field(default_factory=list)
    #: Seconds: the lesson's length beyond the film's, and how far sound moved against the picture.
    longer: float = 0.0
    moved: float = 0.0
    shape: float = 1.0
    colour: int = 0


def film(path: Path, folder: Path) -> Seen:
    """What plain ffmpeg makes of the whole of `path`, all tracks in one process, so that they share one clock."""
    grey, wave, crc, still = (folder / f"judge.{kind}" for kind in ("gray", "s16", "crc", "ppm"))
    has_picture, has_sound = _tracks(path)
    # filters that begin anew where a film changes its size would count some steps twice
    whole = "scale=320:320"
    steps = f"fps={round(1 / STEP_SECONDS)}:start_time=0"
    number = round(_POLL_SECONDS / STEP_SECONDS)
    call = ["-reinit_filter:v", "0", "-i", str(path)]
    if has_picture:
        call += ["-map", "0:V:0", "-vf", f"{steps},{whole},{_STRIP},scale=1:1,format=gray", "-f", "rawvideo", str(grey)]
        call += ["-map", "0:V:0", "-vf", whole, "-fps_mode", "passthrough", "-f", "framecrc", str(crc)]
        call += ["-map", "0:V:0", "-vf", _square_pixels(steps, number), "-frames:v", "1", *_PPM, str(still)]
    if has_sound:
        soft = "aresample=48000:async=1:first_pts=0:min_hard_comp=0.01"
        call += ["-map", "0:a:0", "-af", soft, "-ac", "1", "-f", "s16le", str(wave)]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "fatal", "-y", *call], check=True, capture_output=True, timeout=120)
    beeps = oracle.beeps_of(wave) if has_sound else []
    if not has_picture:
        return Seen([], beeps, 0, wave.stat().st_size / 96_000, None)
    frames, seconds = oracle.frames_of(crc)
    pixels = grey.read_bytes()
    flashes = oracle.flashes_of(pixels, STEP_SECONDS)
    if _is_white(pixels, number):
        return Seen(flashes, beeps, frames, seconds, next(_pictures(still.read_bytes()), None))
    # a transport stream that is read for its picture alone begins with that
    both = ["-i", str(path), *(["-map", "0:a:0", "-f", "null", "/dev/null"] if has_sound else [])]
    return Seen(flashes, beeps, frames, seconds, _film_picture(both, steps, flashes))


def lesson(folder: Path) -> tuple[dict[str, Seen], float]:
    """What plain ffmpeg makes of every picture of the lesson in `folder`, and its frames a second."""
    master = (folder / "master.m3u8").read_text()
    sounds = [name.parent for name in sorted(folder.glob("audio*/init.mp4"))]
    rate = float((re.search(r"FRAME-RATE=([0-9.]+)", master) or ["", "0"])[1])
    # 29.970 is 30000/1001
    rate = round(rate * 1001) / 1001 if abs(rate * 1.001 - round(rate * 1.001)) < 0.001 else rate
    seen = {}
    for path in sorted(folder.glob("*p/init.mp4")):
        seen[path.parent.name] = _rendition(path.parent, sounds[:1], rate)
    if not seen and sounds:
        return {sounds[0].name: _sound(sounds[0])}, rate
    return seen, rate


def compare(recipe: Recipe, film: Seen, made: dict[str, Seen], rate: float) -> Verdict:
    """The verdict on a lesson that is `made` of `film`."""
    verdict = Verdict(film, made, rate)
    faults = verdict.faults
    frame = 1 / rate if rate else 0.0
    if not made:
        faults.append("there is no rendition")
    if len(film.flashes if rate else film.beeps) < 2:
        faults.append("plain ffmpeg sees no marks in the film")
    for name, seen in made.items():
        longer = seen.seconds - film.seconds
        verdict.longer = max(verdict.longer, longer, key=abs)
        if not -1.5 * frame - 0.03 <= longer <= 1.5 * frame + 0.06:
            faults.append(f"{name} is {longer * 1000:+.0f} ms longer")
        if not rate:
            if len(seen.beeps) != len(film.beeps) or _apart(seen.beeps, film.beeps) > 0.02:
                faults.append(f"{name} beeps at {seen.beeps}, the film at {film.beeps}")
            continue
        # where the film has the grid's rate, no frame is repeated or left out: one fills the grid before the first
        as_it_is = abs(film.frames / film.seconds - rate) < 0.02 * rate
        if as_it_is and abs(seen.frames - film.frames) > 2:
            faults.append(f"{name} has {seen.frames} frames, the film {film.frames}")
        if len(seen.flashes) != len(film.flashes):
            faults.append(f"{name} has {len(seen.flashes)} of {len(film.flashes)} flashes")
            continue
        if _apart(seen.flashes, film.flashes) > frame + 0.011:
            faults.append(f"{name} flashes at {seen.flashes}, the film at {film.flashes}")
        _compare_sync(verdict, name, seen, frame, recipe.sync_seconds)
        _compare_pictures(verdict, name, seen, colour=recipe.colour)
    return verdict


def _compare_sync(verdict: Verdict, name: str, seen: Seen, frame: float, slack: float) -> None:
    pairs = zip(seen.offsets, verdict.film.offsets, strict=True)
    moved = [now - then for now, then in pairs if now is not None and then is not None]
    lost = sum(then is not None for then in verdict.film.offsets) - len(moved)
    if lost:
        verdict.faults.append(f"{name} lost {lost} beeps")
    if not moved:
        return
    middle = sorted(moved)[len(moved) // 2]
    verdict.moved = max(verdict.moved, middle, key=abs)
    # a flash is found to a frame
    if abs(middle) > slack + 0.001 or any(abs(one) > slack + frame / 2 + STEP_SECONDS for one in moved):
        verdict.faults.append(f"{name} moves sound by {[round(one * 1000) for one in moved]} ms")


def _compare_pictures(verdict: Verdict, name: str, seen: Seen, *, colour: bool) -> None:
    film, lesson = verdict.film.picture, seen.picture
    if film is None or lesson is None:
        return
    shape = lesson.shape / film.shape
    verdict.shape = max(verdict.shape, shape, key=lambda one: abs(one - 1))
    if abs(shape - 1) > 0.05:
        verdict.faults.append(f"{name} shows a square {shape:.2f} as wide")
    if colour:
        # where plain ffmpeg believes the wrong tag, what was drawn is known
        was = min((film.colours, DRAWN), key=lambda colours: _differs(lesson.colours, colours))
        worst = _differs(lesson.colours, was)
        verdict.colour = max(verdict.colour, worst)
        if worst > MAX_COLOUR:
            verdict.faults.append(f"{name} shows {lesson.colours}, the film {film.colours}")


def _differs(some: list[Colour], others: list[Colour]) -> int:
    return max(abs(a - b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True))


def _apart(one: list[float], other: list[float]) -> float:
    return max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)


def _tracks(path: Path) -> tuple[bool, bool]:
    """Whether the film has a picture that is no cover, and whether it has sound."""
    entries = "stream=codec_type,width,height:stream_disposition=attached_pic"
    tracks = [line.split(",") for line in oracle.probe(path, "-show_entries", entries)]
    picture = any(track[0] == "video" and track[3:4] == ["0"] for track in tracks)
    return picture, any(track[0] == "audio" for track in tracks)


def _is_white(pixels: bytes, number: int) -> bool:
    return pixels[number : number + 1] > b"\x80"


def _square_pixels(steps: str, number: int) -> str:
    return f"{steps},select=eq(n\\,{number}),scale=trunc(iw*sar/2)*2:ih,setsar=1"


def _film_picture(call: list[str], steps: str, flashes: list[float]) -> Picture | None:
    if len(flashes) < 2:
        return None
    picked = _square_pixels(steps, round((flashes[1] + 0.03) / STEP_SECONDS))
    return next(_pictures(_decoded([*call, "-map", "0:V:0", "-vf", picked, "-frames:v", "1", *_PPM])), None)


def _rendition(folder: Path, sounds: list[Path], rate: float) -> Seen:
    still, wave = folder / "judge.ppm", folder / "judge.s16"
    data = [_joined(one) for one in (folder, *sounds)]
    inputs = [word for one in data for word in ("-i", str(one))]
    number = round(_POLL_SECONDS * rate)
    call = ["-map", "0:v", "-vf", f"select=eq(n\\,{number})", "-frames:v", "1", *_PPM, "-y", str(still)]
    call += ["-map", "1:a", *_WAVE, "-y", str(wave)] if sounds else []
    grey = _decoded([*inputs, *call, "-map", "0:v", "-vf", f"{_STRIP},scale=1:1,format=gray", *_RAW])
    flashes = oracle.flashes_of(grey, 1 / rate)
    picture = None
    if _is_white(grey, number):
        picture = next(_pictures(still.read_bytes()), None)
    elif len(flashes) > 1:
        picked = ["-vf", f"select=eq(n\\,{round(flashes[1] * rate)})", "-frames:v", "1", *_PPM]
        picture = next(_pictures(_decoded(["-i", str(data[0]), *picked])), None)
    beeps = oracle.beeps_of(wave) if sounds else []
    for made in (*data, still, wave):
        made.unlink(missing_ok=True)
    return Seen(flashes, beeps, len(grey), len(grey) / rate, picture)


def _sound(folder: Path) -> Seen:
    data, wave = _joined(folder), folder / "judge.s16"
    wave.write_bytes(_decoded(["-i", str(data), *_WAVE]))
    seen = Seen([], oracle.beeps_of(wave), 0, wave.stat().st_size / 96_000, None)
    data.unlink()
    wave.unlink()
    return seen


def _joined(folder: Path) -> Path:
    data = folder / "judge.mp4"
    data.write_bytes(b"".join(path.read_bytes() for path in [folder / "init.mp4", *sorted(folder.glob("[0-9]*.m4s"))]))
    return data


_WAVE = ("-ac", "1", "-ar", "48000", "-f", "s16le")
_RAW = ("-f", "rawvideo", "-fps_mode", "passthrough")
_PPM = ("-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe")


def _pictures(data: bytes) -> Iterator[Picture]:
    """The frames that ffmpeg wrote, distinguished by their size in a PPM."""
    while data:
        header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
        assert header, "ffmpeg writes PPM"
        width, height = int(header[1]), int(header[2])
        pixels, data = data[header.end() : header.end() + 3 * width * height], data[header.end() + 3 * width * height :]
        yield _picture(pixels, width, height)


def _picture(pixels: bytes, width: int, height: int) -> Picture:
    green = pixels[1::3]
    columns = [x for x in range(width * 9 // 16, width) if green[height // 2 * width + x] > 128]
    rows = [y for y in range(height) if green[y * width + width * 3 // 4] > 128]
    centres = [(width * x // 8, height * y // 4) for y in (1, 3) for x in (1, 3)]
    return Picture(len(columns) / max(1, len(rows)), [_mean(pixels, width, height, x, y) for x, y in centres])


def _mean(pixels: bytes, width: int, height: int, x: int, y: int) -> Colour:
    across, down = max(1, width // 40), max(1, height // 20)
    lines = range(y - down, y + down)
    places = [3 * (line * width + column) for line in lines for column in range(x - across, x + across)]
    red, green, blue = (sum(pixels[place + channel] for place in places) // len(places) for channel in range(3))
    return red, green, blue


def _decoded(arguments: list[str]) -> bytes:
    call = ["ffmpeg", "-nostdin", "-v", "error", *arguments, "pipe:1"]
    return subprocess.run(call, check=True, capture_output=True, timeout=60).stdout
