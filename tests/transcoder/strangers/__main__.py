"""Judges every film of the corpus, and writes docs/film-corpus.md: `python -m tests.transcoder.strangers`."""

import shutil
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from services.transcoder.errors import TranscoderError
from services.transcoder.ffmpeg.process import Ffmpeg
from tests.transcoder.strangers.figures import Figures, figures_of
from tests.transcoder.strangers.recipes import RECIPES

PAGE = Path(__file__).parents[3] / "docs" / "film-corpus.md"
_HEAD = """\
# Film corpus

`make test-all` makes these {films} films with {writers} writers, makes a lesson of each, and compares the two by \
plain ffmpeg, which decodes the whole film in one process. Every film shows four coloured patches, and a white square \
while a tone sounds. Segments and chunks end every two seconds, so that marks lie on both sides of their borders.

| column | what it is | limit |
|---|---|---|
| frames | of the film, and of each rendition of the lesson: repeated or left out where rates differ | |
| length | of the film in seconds, and how many milliseconds longer the lesson is | a frame and a half, and 60 ms |
| sync | how many milliseconds sound moved against the picture, median of all marks \
| 20 ms; 45 ms for AVI with B-frames, which has no times of showing |
| shape | width by height of the square in the lesson, divided by the film's | 5 % |
| colour | the largest difference of a patch's red, green or blue, of 255; none where plain ffmpeg shows other colours \
than a viewer's screen | 12 |

{verdict} Written by `python -m tests.transcoder.strangers`.

| film | writer | file | frames | length | sync | shape | colour |
|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Write the page; the exit status is 1 if a film has a fault."""
    ffmpeg = Ffmpeg()
    with ProcessPoolExecutor(2) as pool:
        found = [one for one in pool.map(partial(_judged, ffmpeg), range(len(RECIPES))) if one]
    bad = [figures for figures in found if figures.faults]
    for figures in bad:
        print(f"{figures.name}: {'; '.join(figures.faults)}", file=sys.stderr)
    verdict = f"{len(found) - len(bad)} of {len(RECIPES)} films keep every limit, and their lessons every MUST rule."
    writers = len(Counter(recipe.writer for recipe in RECIPES))
    colours = {recipe.name: recipe.colour for recipe in RECIPES}
    head = _HEAD.format(films=len(RECIPES), writers=writers, verdict=verdict)
    PAGE.write_text(head + "".join(_row(figures, colours[figures.name]) for figures in found))
    raise SystemExit(0 if len(found) == len(RECIPES) and not bad else 1)


def _judged(ffmpeg: Ffmpeg, number: int) -> Figures | None:
    folder = Path(tempfile.mkdtemp())
    try:
        return figures_of(RECIPES[number], ffmpeg, folder)
    except TranscoderError as error:
        print(f"{RECIPES[number].name}: {error}", file=sys.stderr)
        return None
    finally:
        shutil.rmtree(folder)


def _row(one: Figures, colour: bool) -> str:
    frames = f"{one.frames} → {one.lesson_frames}" if one.frames else "–"
    pictures = (f"{one.shape:.3f}", str(one.colour) if colour else "–") if one.frames else ("–", "–")
    length = f"{one.seconds:.3f} {one.longer_ms:+d}"
    cells = (one.name, one.writer, one.ending, frames, length, f"{one.moved_ms:+d}", *pictures)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
