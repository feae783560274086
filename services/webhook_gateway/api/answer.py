"""Base class of the API's answers: immutable, read from our own values' attributes, closed in the document."""

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """An object of an answer."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)
