"""Route that reads the audit log; for programs of operators."""

from typing import Any

from flask import Blueprint
from pydantic import AwareDatetime, Field

from services.webhook_gateway.api.database_engine import school_engine
from services.webhook_gateway.api.operations import operation
from services.webhook_gateway.api.pages import PageQuery, read_page
from services.webhook_gateway.api.response_model import ResponseModel
from shared.operations.audit_log import list_entries
from shared.runtime.api_tokens import Scope

audit_log = Blueprint("audit_log", __name__)


class AuditQuery(PageQuery):
    """Which operator actions are wanted."""

    what: str | None = Field(
        None, min_length=1, max_length=100, pattern=r"^[a-z_.]+$", description="A kind, such as `dead.replay`."
    )


class OperatorAct(ResponseModel):
    """An operator's action."""

    id: int
    acted_at: AwareDatetime
    who: str
    what: str
    why: str | None
    credential: str | None
    ids: list[int | str]
    chosen_by: dict[str, Any]


class AuditPage(ResponseModel):
    """Operator actions, the newest first."""

    items: list[OperatorAct]
    next_cursor: str | None


@audit_log.get("/api/v1/operator-acts", provide_automatic_options=False)
@operation(
    summary="The audit log: what operators did, the newest first",
    scope=Scope.OPERATE,
    query=AuditQuery,
    answer=AuditPage,
)
def list_operator_acts(query: AuditQuery) -> AuditPage:
    page, next_cursor = read_page(
        query,
        lambda limit, before_id: list_entries(school_engine(), what=query.what, limit=limit, before_id=before_id),
        lambda entry: entry.id,
    )
    return AuditPage(items=[OperatorAct.model_validate(entry) for entry in page], next_cursor=next_cursor)
