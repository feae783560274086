"""Rules on a lesson beside the film it was made of; they hold of themselves where no film is named."""

from collections.abc import Iterator, Sequence

from services.transcoder.hls.lint.film_signals import MOVING_SIDE, STEPS, Signals, signals_of
from services.transcoder.hls.lint.presentation import Presentation, Variant
from services.transcoder.hls.lint.rules import must

#: The share of a picture's own contrast by which two pictures of one moment may differ.
MAX_DIFFERENCE = 0.35
#: Below this contrast, of 255, a picture has no shape.
MIN_CONTRAST = 4
#: Windows in which sync is measured, how far it is searched for, and how much of it is the measure's own coarseness:
#: half a frame at 25 frames a second, and a step each.
WINDOW_SECONDS = 10
FARTHEST_STEPS = 50
COARSE_STEPS = 4


@must("Nouba", "Each variant shows the frames of the film in their shape, from beginning to end")
def film_shape(lesson: Presentation) -> Iterator[str]:
    if lesson.film is None or lesson.film.hdr:
        return
    for variant in lesson.pictures:
        made = _signals(lesson, variant)
        was = lesson.film.signals(*variant.size)
        seconds = _other_shapes(was, made)
        if seconds:
            yield f"{variant.media.name}: other pictures at {', '.join(f'{at}.5 s' for at in seconds[:5])}"


@must("Nouba", "Sound and picture are as far apart as in the film")
def film_sync(lesson: Presentation) -> Iterator[str]:
    if lesson.film is None or not lesson.pictures:
        return
    variant = lesson.pictures[0]
    was, made = lesson.film.signals(*variant.size), _signals(lesson, variant)
    size = MOVING_SIDE * MOVING_SIDE
    for start in range(0, min(len(made.loudness), len(made.movement) // size), WINDOW_SECONDS * STEPS):
        sound = _lag([(one,) for one in was.loudness], [(one,) for one in made.loudness], start)
        picture = _lag(_frames(was.movement, size), _frames(made.movement, size), start)
        if sound is not None and picture is not None and abs(sound - picture) > COARSE_STEPS:
            late = (sound - picture) * 1000 // STEPS
            yield f"{variant.media.name}: sound is {late:+d} ms late from {start // STEPS} s on"


def _signals(lesson: Presentation, variant: Variant) -> Signals:
    assert lesson.film is not None
    sound = variant.sounds[0] if variant.sounds else None
    return signals_of(variant.media, sound, *variant.size, lesson.film.ffmpeg)


def _other_shapes(was: Signals, made: Signals) -> list[int]:
    """The seconds at which no neighbouring frame of the film resembles the lesson's."""
    size = was.width * was.height
    found = []
    for second in range(min(len(was.pictures), len(made.pictures)) // (3 * size)):
        first = 3 * second * size
        shown = made.pictures[first + size : first + 2 * size]
        mean = sum(shown) // size
        contrast = sum(abs(pixel - mean) for pixel in shown)
        if contrast < MIN_CONTRAST * size:
            continue
        around = (was.pictures[first + i * size : first + (i + 1) * size] for i in range(3))
        nearest = min(sum(abs(a - b) for a, b in zip(frame, shown, strict=True)) for frame in around)
        if nearest > MAX_DIFFERENCE * contrast:
            found.append(second)
    return found


def _frames(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data) - size + 1, size)]


def _lag(was: Sequence[Sequence[int]], made: Sequence[Sequence[int]], start: int) -> int | None:
    """By how many steps `made` is late in the window from `start`; None where nothing there distinguishes them."""
    window = range(start, min(start + WINDOW_SECONDS * STEPS, len(made)), 2)
    costs = {}
    for lag in range(-FARTHEST_STEPS, FARTHEST_STEPS + 1):
        pairs = [(was[at - lag], made[at]) for at in window if 0 <= at - lag < len(was)]
        if 2 * len(pairs) < len(window):
            continue
        differences = sum(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
        costs[lag] = differences / len(pairs)
    if not costs or min(costs.values()) > 0.5 * max(costs.values()):
        return None
    least = min(costs.values())
    # still pictures fit for a while
    fitting = [lag for lag, cost in costs.items() if cost <= least * 1.02 + 0.01]
    return fitting[len(fitting) // 2] if len(fitting) <= COARSE_STEPS + 1 else None
