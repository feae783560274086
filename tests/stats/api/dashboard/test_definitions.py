"""The definitions in French and Arabic say what the English ones say."""

import re

import pytest

from services.stats.api.dashboard.i18n import words_of
from services.stats.sections import SECTIONS

#: What an English definition may say, and by which words another language says it.
SAID = {
    "fr": {
        r"\brounded": r"arrondi",
        r"left out": r"\bomise?s?\b",
        r"days? of grace": r"délai de grâce",
        r"in any currency": r"devise",
        r"school’s currency|school's currency|in its currency": r"monnaie",
        r"taken off": r"dédui|retir",
        r"later": r"ensuite",
        r"Money of the office|office’s money": r"argent du guichet",
        r"began last": r"commencée en dernier",
        r"middle": r"milieu",
        r"midnight": r"minuit",
        r"“not given”": r"non précisé",
        r"reversed": r"annulés",
    },
    "ar": {
        r"\brounded": r"مقرَّ?ب|مقرّب",
        r"left out": r"لا [يت]ُذكر",
        r"days? of grace": r"المهلة|مهلتها",
        r"in any currency": r"بأي عملة",
        r"school’s currency|school's currency|in its currency": r"بعملة المدرسة|بعملتها",
        r"taken off": r"ُخصم|خصم",
        r"later": r"لاحقًا|بعد ذلك",
        r"Money of the office|office’s money": r"أموال الشباك",
        r"began last": r"بدأت أخيرًا",
        r"middle": r"وسطه",
        r"midnight": r"منتصف الليل",
        r"“not given”": r"غير محدد",
        r"reversed": r"الملغاة",
    },
}
#: The end of a part of a definition.
_END = re.compile(r"[.:;؛](?!\d)")


@pytest.mark.parametrize("language", SAID)
def test_every_definition_says_all_that_the_english_one_says(language: str) -> None:
    words, english = words_of(language), words_of("en")
    short = []
    for section in SECTIONS:
        for number in section.numbers:
            full, found = (one.definition(section, number)[0] for one in (english, words))
            unsaid = [said for said, by in SAID[language].items() if re.search(said, full) and not re.search(by, found)]
            # French and Arabic have words for 0, and name the percentile of "95 of 100"
            numbers = set(re.findall(r"\d+", full)) - set(re.findall(r"\d+", found))
            parts = len(_END.findall(full)) - len(_END.findall(found))
            if unsaid or numbers - {"0", "100"} or parts > 0:
                short.append((f"{section.name}.{number.name}", unsaid, numbers, parts, found))
    assert short == []
