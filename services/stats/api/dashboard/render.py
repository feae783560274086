"""Renders the dashboard once for each language, until the days change."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flask import render_template
from markupsafe import Markup

from services.stats.api.cached_response import CachedResponse, document
from services.stats.api.dashboard.closing import closing_words
from services.stats.api.dashboard.i18n import words_of
from services.stats.api.dashboard.view_model import view_of
from services.stats.api.snapshot_cache import SnapshotCache
from shared.runtime.languages import LANGUAGES

#: The stylesheet stands in the page itself, so that one request brings all of it.
STYLE = (Path(__file__).parent.parent / "templates" / "style.css").read_text(encoding="utf-8")
#: Nothing may be loaded, nothing may run; this one stylesheet, which its hash names, may apply.
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the school has set, and the page says in words."""

    #: So many days after a subscription's end it counts as lost.
    grace_days: int
    #: The day of a month on which the month before is closed; 0 where an operator alone does it.
    closing_day: int


def render(template: str, language: str, **given: Any) -> CachedResponse:
    """A page of ours in one of LANGUAGES."""
    words = words_of(language)
    languages = {code: name for code, (_, name) in LANGUAGES.items()}
    # the stylesheet is a file of ours
    given = {"words": words, "say": words.page, "languages": languages, "style": Markup(STYLE), **given}  # noqa: S704
    return document(render_template(template, **given).encode(), "text/html; charset=utf-8")


def page_of(
    cache: SnapshotCache, day: date | None, language: str, policy: Policy, view: str = "school"
) -> CachedResponse:
    """The page of `day`; a page that says so where it is not kept."""
    with_view = "" if view == "school" else f"&view={view}"
    given = {"cache": cache, "which": view, "with_view": with_view, "carried": with_view}
    found = None if day is None else cache.days.get(day)
    if day is None or found is None:
        return render("absent.html", language, day=day, **given)
    zone = ZoneInfo(found.payload["zone"])
    earlier, later = day - timedelta(days=1), day + timedelta(days=1)
    return render(
        "page.html",
        language,
        day=day,
        view=view_of(cache, found, words_of(language), view),
        kept=found,
        policy=policy,
        zone=zone,
        closing=closing_words(cache, day, policy.closing_day, zone, words_of(language)),
        earlier=earlier if earlier in cache.days else None,
        later=later if later in cache.days else None,
        **given,
    )
