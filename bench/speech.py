"""What automatic captions cost: seconds for each minute of speech, with the small model that a package ships."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import click

from bench.measures import Measure, Options, Show, alternate
from bench.running import run
from local.errors import LocalError
from local.installers.system_package import SystemPackage, apt_script
from local.installers.whisper import find_whisper
from services.transcoder.speech.whisper import Whisper, WhisperOptions

_TEXT = """
Welcome to the lesson. Today we talk about light, and about what happens when it enters water. In air, light travels
almost as fast as in empty space. In water it is slower, by a quarter. A ray that falls on the surface at an angle turns
towards the normal, because one side of it is slowed before the other. Please open your book and read the first
paragraph. Then draw the ray, measure both angles, and divide their sines: you always find the same number.
"""
_SPEAKER = SystemPackage(
    name="espeak-ng",
    apt_script=apt_script("espeak-ng"),
    brew=("espeak-ng",),
    by_hand="install it, for example with `sudo apt-get install espeak-ng`",
)
_RATE = 16_000


def measure(part: str, options: Options, show: Show) -> Iterator[Measure]:
    """The wall time of the process that workers run, over two minutes of speech as they hear it, language unknown."""
    seconds = 20 if options.quick else 120
    try:
        show("finding a speech model", 0, 1)
        python, model = find_whisper()
        folder = options.folder / "speech"
        folder.mkdir()
        sound = _speak(folder, seconds)
    except LocalError as error:
        click.echo(f"Captions are not measured. {error}", err=True)
        return
    threads = min(4, os.cpu_count() or 1)
    whisper = Whisper(WhisperOptions(model=model, python=python, languages=("ar", "fr", "en"), threads=threads))

    found = alternate(
        options.rounds,
        {f"Whisper base, int8, {threads} threads": lambda: _wall_seconds(whisper, sound, folder) * 60 / seconds},
        show,
    )
    name = "automatic captions, a minute of speech"
    yield Measure(part=part, name=name, unit="s", samples=found, goal="at most 30 s on two cores")


def _wall_seconds(whisper: Whisper, sound: Path, folder: Path) -> float:
    began = time.monotonic()
    heard = whisper.transcribe(sound, folder)
    if heard.language != "en" or len(heard.words) < 20:
        raise click.ClickException(f"The model heard {len(heard.words)} words of {heard.language} in English speech.")
    return time.monotonic() - began


def _speak(folder: Path, seconds: int) -> Path:
    """Speech without a pause longer than those between sentences, as samples that a worker gives to the model."""
    if not shutil.which("espeak-ng"):
        _SPEAKER.install()
    text = " ".join(_TEXT.split())
    # its sound library makes a folder, also where nothing is played
    environment = {**os.environ, "PULSE_RUNTIME_PATH": str(folder / "pulse")}
    call: list[str | Path] = ["espeak-ng", "-v", "en", "-s", "140", "-w", folder / "spoken.wav", text]
    subprocess.run(call, env=environment, check=True)
    call = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-stream_loop",
        "-1",
        "-i",
        folder / "spoken.wav",
        "-t",
        str(seconds),
    ]
    run([*call, "-ac", "1", "-ar", str(_RATE), "-f", "s16le", folder / "speech.raw"], {})
    return folder / "speech.raw"
