"""Routes that list and show dead letters, read only; for programs of operators."""

from typing import Any, Literal

from flask import Blueprint
from pydantic import AwareDatetime, Field

from services.webhook_gateway import errors
from services.webhook_gateway.api.database_engine import school_engine
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import PageQuery, read_page
from services.webhook_gateway.api.response_model import ResponseModel
from shared.operations.dead_letters.queries import DeadFilter, find_dead, list_dead
from shared.runtime.api_tokens import Scope

dead_letters = Blueprint("dead_letters", __name__)


class DeadLetterQuery(PageQuery):
    """Which dead letters are wanted."""

    queue: str | None = Field(None, min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
    state: Literal["dead", "replayed", "discarded"] | None = None


class DeadLetterAnswer(ResponseModel):
    """A message that no worker could handle."""

    id: int
    queue: str
    message_id: str
    state: Literal["dead", "replayed", "discarded"]
    cause: str
    error: str | None
    actor: str | None
    arguments: Any
    attempts: int
    deaths: int
    replays: int
    died_at: AwareDatetime
    replayed_at: AwareDatetime | None
    decided_by: str | None
    decided_why: str | None
    decided_at: AwareDatetime | None


class DeadLetterPage(ResponseModel):
    """Dead letters, the newest first."""

    items: list[DeadLetterAnswer]
    next_cursor: str | None


@dead_letters.get("/api/v1/dead-letters", provide_automatic_options=False)
@operation(
    summary="Dead letters of every queue, the newest first",
    scope=Scope.OPERATE,
    query=DeadLetterQuery,
    answer=DeadLetterPage,
)
def list_dead_letters(query: DeadLetterQuery) -> DeadLetterPage:
    chosen = DeadFilter(queue=query.queue, state=query.state)
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: list_dead(school_engine(), chosen, limit=limit, before_id=before_id),
        lambda letter: letter.id,
    )
    return DeadLetterPage(items=[DeadLetterAnswer.model_validate(letter) for letter in page], next_cursor=next_cursor)


@dead_letters.get("/api/v1/dead-letters/<int(max=9223372036854775807):letter_id>", provide_automatic_options=False)
@operation(
    summary="One dead letter",
    scope=Scope.OPERATE,
    answer=DeadLetterAnswer,
    refusals=(errors.UnknownDeadLetterError,),
    has_etag=True,
)
def read_dead_letter(letter_id: int) -> DeadLetterAnswer:
    found = find_dead(school_engine(), letter_id)
    if found is None:
        raise errors.UnknownDeadLetterError(letter_id)
    return DeadLetterAnswer.model_validate(found)
