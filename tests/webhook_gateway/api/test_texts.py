"""Texts that people send by the API are one line that stays in its place, in any script."""

from collections.abc import Callable

import pytest
from pydantic import BaseModel, ValidationError

from services.webhook_gateway.school_api.course_video.routes import ChapterBody
from services.webhook_gateway.school_api.uploads.routes import CompletionBody, WishBody
from services.webhook_gateway.school_api.webhook_endpoints.routes import EndpointChanges, NewEndpoint
from shared.runtime.visible_text import is_plain, without_directions
from tests.runtime.test_visible_text import ORDINARY, UNSAFE

FORMS: dict[str, Callable[[str], BaseModel]] = {
    "key of an upload": lambda text: CompletionBody(upload_id="u", key=text),
    "description of an endpoint": lambda text: NewEndpoint(url="https://a.example/", event_types=[], description=text),
    "new description of an endpoint": lambda text: EndpointChanges(description=text),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_people_type_is_taken_and_what_turns_a_page_around_is_refused(form: Callable[[str], BaseModel]) -> None:
    for text in ORDINARY.values():
        assert text in form(text).model_dump().values()
    for character in UNSAFE.values():
        with pytest.raises(ValidationError, match="Remove control characters"):
            form(f"one{character}two")


def test_a_copied_title_loses_its_changes_of_direction_and_only_those() -> None:
    for text in ORDINARY.values():
        assert ChapterBody(start_seconds=0, title=text).title == text
    for copied in ("\u202bانكسار الضوء\u202c", "\u2067انكسار\u2069 الضوء", "\u202b انكسار الضوء \u202c"):
        assert ChapterBody(start_seconds=0, title=copied).title == "انكسار الضوء"
    for character in UNSAFE.values():
        if is_plain(without_directions(character)):
            assert ChapterBody(start_seconds=0, title=f"one{character}two").title == "onetwo"
        else:
            with pytest.raises(ValidationError, match="Remove control characters"):
                ChapterBody(start_seconds=0, title=f"one{character}two")
    for unseen in ("\u202b\u202c", "\u2800", "\U000e0020"):
        with pytest.raises(ValidationError, match="Nothing of it would be seen"):
            ChapterBody(start_seconds=0, title=unseen)


def test_the_name_of_an_upload_is_refused_for_control_characters_alone() -> None:
    for text in (*ORDINARY.values(), "\u2068درس 1\u2069.mp4", "\u202bدرس\u202c.mp4"):
        assert WishBody(filename=text, size=1, content_type="video/mp4").filename == text
    for character in ("\x00", "\n", "\x7f"):
        with pytest.raises(ValidationError, match="filename"):
            WishBody(filename=f"one{character}two", size=1, content_type="video/mp4")
