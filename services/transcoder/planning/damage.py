"""Damage: which parts of a film could not be decoded, and whether the rest is worth a lesson. Pure."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from services.transcoder.planning.source import LessonWarning

#: A film of which more is lost is refused: nobody should learn from its remains.
MAX_SHARE = 0.01
#: A fault in a short film costs a frame or two, which is more than one per cent of it.
FREE_SECONDS = 0.2
#: Faults that are closer together are one place for a teacher.
ONE_PLACE_SECONDS = 2.0
MAX_PLACES = 5

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Where one track is damaged, in seconds of the film. `track` is `picture` or `sound`."""

    track: str
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        return sum(end - start for start, end in self.spans)


def damage_of(track: str, spans: Iterable[Span]) -> Damage:
    """The damage of `track`, with overlapping spans joined."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return Damage(track=track, spans=tuple(joined))


def too_much(lost: float, whole: float, free: float = 0.0) -> bool:
    """Whether `lost` of `whole` is more than a film may lose."""
    return lost > max(MAX_SHARE * whole, free)


def is_fatal(damage: Damage, duration_seconds: float) -> bool:
    """Whether a film of that length is refused for `damage`."""
    return too_much(damage.seconds, duration_seconds, FREE_SECONDS)


def merged(damages: Iterable[Damage]) -> list[Damage]:
    """One damage for each track that has any, the picture first."""
    found = sorted(damages, key=lambda damage: damage.track)
    groups = itertools.groupby(found, key=lambda damage: damage.track)
    each = [damage_of(track, [span for damage in group for span in damage.spans]) for track, group in groups]
    return [damage for damage in each if damage.spans]


def warning_of(damage: Damage) -> LessonWarning:
    """What the teacher reads: how much, and where."""
    places = [clock(start) for start, _ in _places(damage.spans)]
    shown = ", ".join(places[:MAX_PLACES]) + (" and later" if len(places) > MAX_PLACES else "")
    subject = "picture" if damage.track == "picture" else "sound"
    return LessonWarning(
        code=f"damaged_{subject}",
        text=f"The {subject} is damaged at {shown}, {spoken_seconds(damage.seconds)} in all."
        " Check these places; if they matter, export the video again and upload the new file.",
    )


def spoken_seconds(seconds: float) -> str:
    """A length of time for a sentence: `0.2 seconds`, `1 second`, `12 seconds`."""
    shown = f"{max(0.1, seconds):.1f}".removesuffix(".0") if seconds < 10 else f"{seconds:.0f}"
    return f"{shown} second{'s' if shown != '1' else ''}"


def clock(seconds: float) -> str:
    """A place in a film as players show it: `0:07`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def dump_damage(damages: Sequence[Damage]) -> list[dict[str, Any]]:
    """`damages` as JSON can carry them."""
    plain: list[dict[str, Any]] = _DAMAGES.dump_python(list(damages), mode="json")
    return plain


def load_damage(plain: Sequence[dict[str, Any]]) -> list[Damage]:
    """What `dump_damage` wrote."""
    return _DAMAGES.validate_python(list(plain))


def _places(spans: Sequence[Span]) -> list[Span]:
    places: list[Span] = []
    for start, end in spans:
        if places and start - places[-1][1] < ONE_PLACE_SECONDS:
            places[-1] = (places[-1][0], end)
        else:
            places.append((start, end))
    return places


_DAMAGES = TypeAdapter(list[Damage])
