"""Text of strangers, so that what is invisible in it shows and changes nothing around it."""

import re

#: What moves a terminal's cursor, sets its title, hides what stands before it or turns the text around; lines and tabs
#: stay.
_INVISIBLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Control characters and changes of direction are written as escapes."""
    return _INVISIBLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
