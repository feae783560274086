"""The process that hears strangers' sound: no secrets, no network, bounded, and what it writes is not trusted.

Its Python has a module `faster_whisper` that does what code would do that a stranger has taken over.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from services.transcoder.errors import (
    EncoderFailedError,
    EnvironmentNotReadyError,
    JobCancelledError,
    StalledError,
    WrongOutputError,
)
from services.transcoder.speech.transcript import Transcript, Word
from services.transcoder.speech.whisper import Whisper, WhisperOptions
from tests.transcoder.speech.stub import install_stub

Make = Callable[..., tuple[Whisper, Path]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A Whisper whose process runs `body`, and its folder with sound."""

    def build(body: str, **options: object) -> tuple[Whisper, Path]:
        folder = tmp_path / "work"
        folder.mkdir()
        (folder / "speech.raw").write_bytes(b"\0\0" * 16_000)
        python, model = install_stub(tmp_path, body)
        given = {"languages": ["ar", "fr"], "memory_bytes": 500_000_000, **options}
        return Whisper(WhisperOptions(model=model, python=python, **given)), folder  # type: ignore[arg-type]

    return build


def test_the_likeliest_of_the_schools_languages_is_transcribed(make: Make) -> None:
    whisper, folder = make('said = language + " heard"')
    assert whisper.transcribe(folder / "speech.raw", folder) == Transcript("fr", [Word(1000, 1500, " fr heard")])
    assert whisper.transcribe(folder / "speech.raw", folder, "ar").language == "ar"


def test_it_sees_no_secret_no_network_and_no_file_but_its_own(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker with secrets in its environment and in files
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-worlds-secret")
    secret = tmp_path / "settings"
    secret.write_text("the-worlds-secret")
    tries = {
        "environment": "dict(os.environ)",
        "settings": f"Path({str(secret)!r}).read_text()",
        "passwords": "Path('/etc/passwd').read_text()",
        "the worker": f"Path('/proc/{os.getpid()}/environ').read_bytes().decode()",
        "network": "str(socket.socket())",
        "elsewhere": f"Path({str(tmp_path / 'left')!r}).write_text('x')",
        "the model": f"Path({str(tmp_path / 'model' / 'x')!r}).write_text('x')",
    }
    body = "seen = {}\n"
    for name, attempt in tries.items():
        body += f"        try:\n            seen[{name!r}] = {attempt}\n"
        body += f"        except OSError as error:\n            seen[{name!r}] = None\n"
    whisper, folder = make(body + "        said = json.dumps(seen)")

    # When code in the process searches for them
    (word,) = whisper.transcribe(folder / "speech.raw", folder, "fr").words

    # Then it finds nothing
    seen = json.loads(word.text)
    environment = seen.pop("environment")
    assert seen == dict.fromkeys(seen)
    assert "the-worlds-secret" not in environment.values()
    names = {name for name in environment if not name.startswith(("HF_HUB_", "OMP_", "KMP_"))}
    assert names <= {"PATH", "LC_ALL", "LC_CTYPE", "MALLOC_ARENA_MAX"}
    assert not (tmp_path / "left").exists()


def test_its_memory_and_its_time_are_bounded(make: Make) -> None:
    whisper, folder = make("said = str(len(bytearray(900_000_000)))")
    with pytest.raises(EncoderFailedError, match="MemoryError"):
        whisper.transcribe(folder / "speech.raw", folder, "fr")


def test_a_process_that_does_not_end_is_killed(make: Make) -> None:
    whisper, folder = make("import time; time.sleep(3600)", deadline_seconds=1.5)
    with pytest.raises(StalledError):
        whisper.transcribe(folder / "speech.raw", folder, "fr")


def test_a_worker_that_stops_ends_it(make: Make) -> None:
    whisper, folder = make("import time; time.sleep(3600)")
    with pytest.raises(JobCancelledError):
        whisper.transcribe(folder / "speech.raw", folder, "fr", lambda: True)


@pytest.mark.parametrize(
    "body",
    [
        "os.symlink('/proc/self/environ', 'words.json'); os._exit(0)",
        'Path(\'words.json\').write_text(\'{"language": "fr", "words": [[0, "x"]]}\'); os._exit(0)',
        'Path(\'words.json\').write_text(\'{"language": "xx", "words": []}\'); os._exit(0)',
        "os._exit(0)",
    ],
)
def test_what_it_writes_is_a_transcript_or_nothing(make: Make, body: str) -> None:
    whisper, folder = make(body)
    with pytest.raises((WrongOutputError, EncoderFailedError)):
        whisper.transcribe(folder / "speech.raw", folder, "fr")


def test_a_worker_does_not_start_without_the_model_or_the_packages(make: Make, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentNotReadyError, match=r"model\.bin"):
        Whisper(WhisperOptions(model=tmp_path, languages=["ar"]))
    make("said = ''")
    with pytest.raises(EnvironmentNotReadyError, match=r"nouba\[captions\]"):
        Whisper(WhisperOptions(model=tmp_path / "model", languages=["ar"]))
