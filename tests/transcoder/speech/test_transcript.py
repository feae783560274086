"""Words become cues that people can read, and each word is in one task."""

import itertools

from services.transcoder.speech.transcript import (
    SPEECH_TASK_SECONDS,
    Transcript,
    Word,
    cues_of,
    joined,
    window,
    words_of_task,
)
from shared.runtime.webvtt import parse_captions, write_captions
from tests.transcoder.speech.words import said

BORDER_MS = SPEECH_TASK_SECONDS * 1000


def test_a_word_that_two_tasks_heard_is_in_one_of_them() -> None:
    # Given words around a border, which both tasks hear
    words = [Word(BORDER_MS + at, BORDER_MS + at + 300, " w") for at in range(-4000, 4000, 137)]
    assert window(0)[1] * 1000 >= words[-1].end_ms
    assert window(1)[0] * 1000 <= words[0].start_ms

    # Then each is in exactly one
    first, second = words_of_task(words, 0), words_of_task(words, 1)
    assert [*first, *second] == words
    assert first
    assert second


def test_cues_are_cut_at_pauses_and_sentences_and_before_they_are_full() -> None:
    cues = cues_of(
        [
            *said("Light is fast.", 0),
            *said("Nothing is faster than light in the whole of space. Next one.", 3000),
            *said(" ".join(["word"] * 60), 20_000),
        ]
    )
    assert cues[0].text == "Light is fast."
    assert cues[1].text.replace("\n", " ") == "Nothing is faster than light in the whole of space."
    for cue in cues:
        assert len(cue.text.split("\n")) <= 2
        assert all(len(line) <= 84 for line in cue.text.split("\n"))
        assert cue.end_ms - cue.start_ms <= 6_500
    for before, after in itertools.pairwise(cues):
        assert before.end_ms <= after.start_ms


def test_arabic_stays_in_the_order_of_reading() -> None:
    (cue,) = cues_of(said("مرحبا بكم في درس اليوم", 1000))
    assert cue.text == "مرحبا بكم في درس اليوم"


def test_what_a_model_writes_is_no_markup() -> None:
    # Given words that resemble tags, times and entities
    cues = cues_of(
        [Word(0, 500, " <v Amin>"), Word(500, 900, " 00:00:01.000 --> 00:00:02.000"), Word(900, 1200, " &lt;\n\n")]
    )
    # Then they are text, also when they are read again
    assert len(cues) == 1
    assert parse_captions(write_captions(cues).encode()) == cues
    assert "<" not in cues[0].text
    assert "-->" not in cues[0].text


def test_a_lesson_is_in_the_language_of_most_of_its_words() -> None:
    tasks = [Transcript("en", ()), Transcript("fr", said("bonjour à tous", 0)), Transcript("ar", said("مرحبا", 9000))]
    whole = joined(tasks)
    assert whole
    assert whole.language == "fr"
    assert len(whole.words) == 4
    assert joined([Transcript("en", ())]) is None


def test_a_word_without_length_or_letters_is_no_cue() -> None:
    assert cues_of([Word(5, 5, " x"), Word(9, 20, "  ")]) == []
    assert cues_of([]) == []
