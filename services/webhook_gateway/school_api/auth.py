"""Authenticates the school's back end: bearer token and JSON body."""

import hmac
from collections.abc import Sequence
from typing import TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from services.webhook_gateway import errors
from services.webhook_gateway.http.request_body import BodyReader

M = TypeVar("M", bound=BaseModel)


def authorise(tokens: Sequence[bytes]) -> None:
    """Raises Unauthorised where the request does not carry one of `tokens`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token.strip().encode("utf-8", "surrogateescape")
    # every token is compared, so that the time does not tell which one was nearly right
    matches = [hmac.compare_digest(given, known) for known in tokens]
    if scheme.lower() != "bearer" or not any(matches):
        raise errors.UnauthorisedError


def read_json(kind: type[M], bodies: BodyReader, fault: type[errors.ClientError]) -> M:
    """The request's body. Raises `fault` with the fields that are wrong, but never with what they hold."""
    try:
        return kind.model_validate_json(bodies.read(request.environ))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        raise fault(
            "; ".join(f"{'.'.join(str(part) for part in one['loc']) or 'body'}: {one['msg']}" for one in faults)
        ) from None
