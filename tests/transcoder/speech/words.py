"""Words as a model hears them."""

from services.transcoder.speech.transcript import Word


def said(text: str, start_ms: int, word_ms: int = 300) -> list[Word]:
    """Each word of `text`, one after the other."""
    return [
        Word(start_ms + number * word_ms, start_ms + (number + 1) * word_ms, f" {word}")
        for number, word in enumerate(text.split())
    ]
