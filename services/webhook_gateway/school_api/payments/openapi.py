"""OpenAPI of payment registration."""

from typing import Any

from services.webhook_gateway.payments.payment_state import Status
from services.webhook_gateway.school_api.payments.routes import ExpectedBody
from services.webhook_gateway.school_api.uploads.openapi import RETRY_AFTER, TOKEN_REFUSALS, answer

_ERROR = {"$ref": "#/components/schemas/Error"}
_KNOWN = {
    "type": "object",
    "required": ["payment_id", "status"],
    "additionalProperties": False,
    "properties": {
        "payment_id": {"type": "integer", "minimum": 1},
        "status": {"enum": [status.value for status in Status]},
    },
}

PATHS: dict[str, Any] = {
    "/api/payments": {
        "post": {
            "operationId": "expectPayment",
            "summary": "A payer has been sent to a provider. May be said again",
            "description": "Without it a payment is first known by its first webhook, and nobody asks after a payment "
            "whose every webhook is lost.",
            "security": [{"token": []}],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ExpectedBody.model_json_schema()}},
            },
            "responses": {
                "200": answer("The payment is known, and its provider will be asked if it stays unfinished.", _KNOWN),
                "400": answer("The request does not have this form.", _ERROR),
                **TOKEN_REFUSALS,
                "404": answer("No such provider is switched on, or there is no such user.", _ERROR),
                "408": answer("The body did not arrive in time.", _ERROR),
                "409": answer("The payment is known for another user, amount or order.", _ERROR),
                "413": answer("The body is larger than the limit.", _ERROR),
                "415": answer("The body is compressed.", _ERROR),
                "503": answer("The database is away; send it again.", _ERROR, {"Retry-After": RETRY_AFTER}),
            },
        }
    }
}
