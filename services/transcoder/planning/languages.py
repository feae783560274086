"""Language codes of media files (ISO 639-2) as players want them (BCP 47). Pure."""

import re

_CODES = """
    ara:ar bul:bg cat:ca ces:cs cze:cs chi:zh zho:zh dan:da deu:de ger:de ell:el gre:el eng:en spa:es est:et
    fas:fa per:fa fin:fi fra:fr fre:fr heb:he hin:hi hrv:hr hun:hu ind:id ita:it jpn:ja kor:ko lit:lt lav:lv
    may:ms msa:ms nld:nl dut:nl nor:no pol:pl por:pt ron:ro rum:ro rus:ru slk:sk slo:sk slv:sl srp:sr swe:sv
    tha:th tur:tr ukr:uk urd:ur vie:vi
"""
_TWO_LETTERS = dict(pair.split(":") for pair in _CODES.split())

NAMES = {"ar": "العربية", "ber": "Tamaziɣt", "kab": "Taqbaylit", "de": "Deutsch", "en": "English", "es": "Español",
         "fr": "Français", "it": "Italiano", "pt": "Português", "tr": "Türkçe"}  # fmt: skip

UNKNOWN = "und"


def language_tag(code: str) -> str:
    """The BCP 47 tag for what a file says, `und` where it says nothing that is a tag."""
    code = code.strip().replace("_", "-")
    if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", code):
        return UNKNOWN
    first, dash, rest = code.partition("-")
    return _TWO_LETTERS.get(first.lower(), first.lower()) + dash + rest


def language_name(tag: str) -> str:
    """What a player shows in its menu."""
    return NAMES.get(tag.partition("-")[0], tag)
