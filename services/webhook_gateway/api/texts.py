"""The rule for texts that people send: one line, with nothing that turns the text around it."""

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from shared.runtime.visible_text import PLAIN_PATTERN, TITLE_PATTERN, is_plain, is_title, without_directions


@dataclass(frozen=True, slots=True)
class OneLine:
    """Refuses a text with control characters, line ends or changes of direction: `Annotated[str, OneLine()]`.

    `is_title` leaves changes of direction out, and refuses a text of which nothing is seen.
    """

    is_title: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._require, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": TITLE_PATTERN if self.is_title else PLAIN_PATTERN}

    def _require(self, text: str) -> str:
        if self.is_title:
            text = without_directions(text).strip()
        if not is_plain(text):
            raise ValueError("Remove control characters, line ends, and characters that change the direction of text.")
        if self.is_title and not is_title(text):
            raise ValueError("Nothing of it would be seen; send a text.")
        return text
