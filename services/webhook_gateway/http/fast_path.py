"""Answers a provider's POST before Flask.

Forgers are answered here too, since they may come in thousands. Everything else goes on to Flask; so does what cannot
be kept, for Flask to say so.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from services.webhook_gateway import errors
from services.webhook_gateway.http.error_responses import error_response
from services.webhook_gateway.http.receive import Gateway, receive
from services.webhook_gateway.providers.base import Request

#: What could not be kept before Flask, in the environ that Flask gets.
_FAULT = "nouba.fault"
#: The words of a header, as WSGI has them, that bear no HTTP_.
_CONTENT = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class WebhookFastPath:
    """A WSGI application before another one."""

    def __init__(self, application: Application, gateway: Gateway) -> None:
        self._application = application
        self._gateway = gateway
        self._providers = {f"/webhooks/{name}": psp for name, psp in gateway.providers.items() if "POST" in psp.methods}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        psp = self._providers.get(environ["PATH_INFO"])
        if psp is None or environ["REQUEST_METHOD"] != "POST":
            return self._application(environ, start_response)
        try:
            body = self._gateway.bodies.read(environ)
            receipt = receive(
                self._gateway, psp, Request("POST", _headers(environ), body), self._gateway.client_of(environ)
            )
        except errors.ClientError as error:
            status, headers, problem = error_response(error)
            answer = json.dumps(problem, separators=(",", ":"), ensure_ascii=False)
            return _answer(start_response, f"{status.value} {status.phrase}", answer, headers)
        except (errors.StorageUnavailableError, SQLAlchemyError) as error:
            environ[_FAULT] = error
            return self._application(environ, start_response)
        event_id = "null" if receipt.event_id is None else receipt.event_id
        return _answer(start_response, "200 OK", f'{{"event_id":{event_id},"status":"{receipt.status}"}}', {})


def fault_of(environ: dict[str, Any]) -> Exception | None:
    """Why this request cannot be kept, which is known already."""
    found: Exception | None = environ.get(_FAULT)
    return found


def _answer(start_response: Any, status: str, answer: str, headers: dict[str, str]) -> Iterable[bytes]:
    body = f"{answer}\n".encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers.items()])
    return [body]


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    for name, header in _CONTENT.items():
        if value := environ.get(name):
            headers[header] = value
    return headers
