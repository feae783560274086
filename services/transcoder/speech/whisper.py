"""Runs a Whisper model in a confined process: no network, no secrets, bounded memory and time."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from services.transcoder.errors import EncoderFailedError, EnvironmentNotReadyError, WrongOutputError
from services.transcoder.ffmpeg.process import Limits, never, run_confined
from services.transcoder.ffmpeg.sandbox import Confinement
from services.transcoder.ffmpeg.untrusted_outputs import Format, read_output
from services.transcoder.speech import whisper_script as script
from services.transcoder.speech.transcript import Transcript, Word

WORDS = Format("transcript", (b'{"language": "',), 0, 4 << 20)
_WORDS_NAME = "words.json"
#: What faster-whisper reads; it would fetch the tokenizer from a hub.
MODEL_FILES = ("model.bin", "config.json", "tokenizer.json")
_TRANSCRIPT = TypeAdapter(Transcript)
_FOUND_SECONDS = 30.0
#: Prints where a Python is installed, if it has faster-whisper.
_INSTALLATION = """
import importlib.util, json, sys
assert importlib.util.find_spec("faster_whisper")
print(json.dumps([sys.prefix, sys.base_prefix]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperOptions:
    """Which model, which languages, and what it may use."""

    model: Path
    languages: Sequence[str]
    #: The Python that has faster-whisper; the worker's own unless named.
    python: Path | None = None
    threads: int = 1
    memory_bytes: int = 4_000_000_000
    confinement: Confinement = Confinement.REQUIRED
    #: A large model needs minutes for two minutes of speech on an old processor.
    deadline_seconds: float = 3600.0


class Whisper:
    """A model in a folder."""

    def __init__(self, options: WhisperOptions) -> None:
        """Raises EnvironmentNotReadyError where the model or the packages are missing."""
        self._options = options
        self._python = str(options.python or sys.executable)
        missing = [name for name in MODEL_FILES if not (options.model / name).is_file()]
        if missing:
            raise EnvironmentNotReadyError(
                f"{options.model} is no model of faster-whisper, because {' and '.join(missing)} is missing: download"
                " one (CTranslate2's format), and name its folder with NOUBA_TRANSCODER_CAPTIONS_MODEL."
            )
        self._reads = [options.model, Path(script.__file__), *self._installation()]
        self._limits = Limits(
            memory_bytes=options.memory_bytes,
            cpu_seconds=int(options.deadline_seconds) * max(1, options.threads),
            deadline_seconds=options.deadline_seconds,
            stall_seconds=options.deadline_seconds,
            file_bytes=WORDS.max_bytes,
            nice=19,
        )

    def transcribe(
        self, sound: Path, folder: Path, language: str | None = None, cancelled: Callable[[], bool] = never
    ) -> Transcript:
        """What is said in `sound`, samples in `folder`; the language is detected where it is not known.

        Raises JobCancelledError, or TransientError where a retry may help.
        """
        options = self._options
        languages = [language] if language else list(options.languages)
        spec = {
            "model": str(options.model.resolve()),
            "sound": sound.name,
            "words": _WORDS_NAME,
            "languages": languages,
            "threads": options.threads,
        }
        call = [self._python, "-I", script.__file__, json.dumps(spec)]
        errors, status = run_confined(
            call, folder, self._reads, self._limits, options.confinement, cancelled=cancelled, on_line=lambda _: True
        )
        if status != 0:
            raise EncoderFailedError(f"faster-whisper ended with status {status}: {errors.strip()[-500:]}")
        return _checked(read_output(folder / _WORDS_NAME, WORDS), languages)

    def _installation(self) -> list[Path]:
        """The folders of its Python, where faster-whisper has to be."""
        found = subprocess.run(
            [self._python, "-I", "-c", _INSTALLATION], capture_output=True, text=True, timeout=_FOUND_SECONDS
        )
        if found.returncode != 0:
            raise EnvironmentNotReadyError(
                f"{self._python} has no faster-whisper: install nouba[captions] (requirements/captions.txt), or name"
                " another Python with NOUBA_TRANSCODER_CAPTIONS_PYTHON."
            )
        return [Path(path) for path in json.loads(found.stdout)]


def _checked(data: bytes, languages: Sequence[str]) -> Transcript:
    """The transcript, which has to be one: its writer has heard what a stranger said."""
    try:
        transcript = _TRANSCRIPT.validate_json(data)
    except ValidationError as error:
        raise WrongOutputError(f"faster-whisper wrote what is no transcript: {error.error_count()} faults.") from error
    if transcript.language not in languages:
        raise WrongOutputError(f"faster-whisper wrote language {transcript.language[:20]!r}, which was not asked for.")
    return Transcript(transcript.language, [Word(*word) for word in transcript.words])
