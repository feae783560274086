"""Script that transcribes one stretch of sound with faster-whisper, confined by the sandbox.

    python -I whisper_script.py '{"model": "...", "sound": "...", "words": "...", "languages": ["ar"], "threads": 2}'

It needs numpy and faster-whisper beside the standard library: its Python may be another one than the worker's.
The sound is samples that a confined ffmpeg decoded, so this process parses nothing that a stranger wrote.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

#: Windows of 30 s that the language is detected in.
_DETECTED_WINDOWS = 4
#: A pause of this length is cut out before the model hears it: it invents words in silence.
_PAUSES = {"min_silence_duration_ms": 500}


def main(spec: dict[str, Any]) -> None:
    """Write the language and the words of `spec["sound"]` to `spec["words"]`; each line printed is progress."""
    # nothing is downloaded, whatever the model's folder lacks
    os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    # a thread that waits sleeps: the processors are the encoders'
    os.environ.update(OMP_WAIT_POLICY="PASSIVE", KMP_BLOCKTIME="0")
    numpy: Any = importlib.import_module("numpy")
    whisper: Any = importlib.import_module("faster_whisper")
    samples = numpy.fromfile(spec["sound"], dtype="<i2").astype("float32") / 32768
    model = whisper.WhisperModel(
        spec["model"], device="cpu", compute_type="int8", cpu_threads=spec["threads"], local_files_only=True
    )
    print("model", flush=True)
    language = _language(model, samples, spec["languages"])
    segments, _ = model.transcribe(
        samples,
        language=language,
        vad_filter=True,
        vad_parameters=_PAUSES,
        word_timestamps=True,
        # a mistake would be repeated in every later window
        condition_on_previous_text=False,
    )
    words = []
    for segment in segments:
        words += [[round(word.start * 1000), round(word.end * 1000), word.word] for word in segment.words or ()]
        print("segment", flush=True)
    # written in one piece: half a file is none
    Path(spec["words"]).write_text(json.dumps({"language": language, "words": words}))


def _language(model: Any, samples: Any, languages: list[str]) -> str:
    """The likeliest of `languages`."""
    if len(languages) == 1 or not model.model.is_multilingual:
        return languages[0]
    _, _, likely = model.detect_language(samples, vad_filter=True, language_detection_segments=_DETECTED_WINDOWS)
    known = {language: probability for language, probability in likely if language in languages}
    return max(languages, key=lambda language: known.get(language, 0.0))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
