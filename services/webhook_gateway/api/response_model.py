"""Base class of the API's response models (pydantic): frozen, read from attributes, no additional properties."""

from pydantic import BaseModel, ConfigDict


class ResponseModel(BaseModel):
    """An object of a response body."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", frozen=True)
