"""A console to visit, and visitors who fill in its forms as a browser would."""

import re
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from services.webhook_gateway.console.app import create_app
from services.webhook_gateway.console.settings import ConsoleSettings

VIEWER = "a-viewer-token-of-the-tests"
OPERATOR = "an-operator-token-of-the-tests"


def console_of(database_url: str, rabbitmq_url: str, **settings: Any) -> Flask:
    """The application, with a token of each kind."""
    given = {
        "database_url": database_url,
        "rabbitmq_url": rabbitmq_url,
        "console_viewer_tokens": VIEWER,
        "console_operator_tokens": OPERATOR,
        **settings,
    }
    return create_app(ConsoleSettings(**given))


class Person:
    """One browser with its cookies."""

    def __init__(self, app: Flask, address: str = "127.0.0.1") -> None:
        self._client = app.test_client()
        self._client.environ_base["REMOTE_ADDR"] = address

    def enter(self, token: str = OPERATOR, name: str = "operator of the tests", **more: str) -> TestResponse:
        """Show `token` at the door."""
        return self.send("/enter", "/enter", name=name, token=token, **more)

    def read(self, path: str) -> str:
        """A page that has to be there."""
        answer = self._client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def get(self, path: str) -> TestResponse:
        return self._client.get(path)

    def send(self, page: str, form: str, **fields: Any) -> TestResponse:
        """Fill in the form that `page` shows, and send it to `form`."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self._client.get(page).text)
        return self.post(form, csrf_token=found[1] if found else "", **fields)

    def post(self, form: str, **fields: Any) -> TestResponse:
        """Send a form that no page has given."""
        return self._client.post(form, data=fields)
