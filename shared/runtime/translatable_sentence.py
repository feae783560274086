"""Translatable sentences: strings that keep their pattern and values, so that a page can show another language."""

from typing import Any


class Sentence(str):
    """`pattern % values`, which is what everybody reads who does not translate; values may be sentences themselves."""

    pattern: str
    values: dict[str, Any]

    def __new__(cls, pattern: str, /, **values: Any) -> "Sentence":
        made = super().__new__(cls, pattern % values)
        made.pattern, made.values = pattern, values
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        # dataclasses.asdict copies it
        return (self.pattern,), self.values


def join(sentences: list[Sentence], separator: str = " ") -> Sentence:
    """The sentences as one, each of which is translated by itself."""
    names = [f"sentence{place}" for place in range(len(sentences))]
    return Sentence(separator.join(f"%({name})s" for name in names), **dict(zip(names, sentences, strict=True)))
