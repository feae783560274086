"""Base class of the API's response models (pydantic): frozen, read from attributes, no additional properties."""

from pydantic import BaseModel, ConfigDict


class ResponseModel(BaseModel):
    """An object of a response body."""

    # built for its first answer: most of a start would go into models that it does not need
    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True, defer_build=True)
