"""Texts that people send by the API are one line that stays in its place, in any script."""

from collections.abc import Callable

import pytest
from pydantic import BaseModel, ValidationError

from services.webhook_gateway.school_api.course_video.routes import ChapterBody
from services.webhook_gateway.school_api.uploads.routes import CompletionBody, WishBody
from services.webhook_gateway.school_api.webhook_endpoints.routes import EndpointChanges, NewEndpoint
from tests.runtime.test_visible_text import ORDINARY, UNSAFE

FORMS: dict[str, Callable[[str], BaseModel]] = {
    "title of a chapter": lambda text: ChapterBody(start_seconds=0, title=text),
    "name of an upload": lambda text: WishBody(filename=text, size=1, content_type="video/mp4"),
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
