"""A console to visit, and visitors who fill in its forms as a browser would."""

import functools
import hashlib
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.test import TestResponse

from services.console.app import create_app
from services.console.settings import ConsoleSettings

VIEWER = "a-viewer-token-of-the-tests"
OPERATOR = "an-operator-token-of-the-tests"
WHO = "Person at the counter"


class _CompiledTemplates(BytecodeCache):
    """Those of all consoles of this process: each test has a console, and the templates are the same."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if known := self._compiled.get(bucket.key):
            bucket.bytecode_from_string(known)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _CompiledTemplates()
# slow on purpose, and every console of the tests has the same tokens
hashlib.scrypt = functools.cache(hashlib.scrypt)  # type: ignore[assignment]


def console_of(database_url: str, rabbitmq_url: str, **settings: Any) -> Flask:
    """The application, with a token of each kind."""
    given = {
        "database_url": database_url,
        "rabbitmq_url": rabbitmq_url,
        "console_viewer_tokens": VIEWER,
        "console_operator_tokens": f"{WHO}:{OPERATOR}",
        **settings,
    }
    app = create_app(ConsoleSettings(**given))
    app.jinja_env.bytecode_cache = _COMPILED
    return app


class Person:
    """One browser with its cookies, at `site`; `headers` are what a proxy on the way adds."""

    def __init__(
        self,
        app: Flask,
        address: str = "127.0.0.1",
        site: str = "http://localhost",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.app = app
        self._client = app.test_client()
        self._client.environ_base["REMOTE_ADDR"] = address
        self._site = site
        self.headers = headers or {}
        self._referer: dict[str, str] = {}

    def enter(self, token: str = OPERATOR, **more: str) -> TestResponse:
        """Show `token` at the door."""
        return self.send("/enter", "/enter", token=token, **more)

    def take_cookie_of(self, other: "Person") -> None:
        """Have a copy of another browser's session."""
        cookie = other._client.get_cookie("nouba_console")
        assert cookie is not None
        self._client.set_cookie("nouba_console", cookie.value)

    def cookies(self) -> dict[str, str]:
        """All that this browser holds, by their names."""
        return {cookie.key: cookie.value for cookie in (self._client._cookies or {}).values()}

    def take_cookies(self, cookies: Mapping[str, str]) -> None:
        for name, value in cookies.items():
            self._client.set_cookie(name, value)

    def forget(self, name: str) -> None:
        """Send this cookie no more."""
        self._client.delete_cookie(name)

    def read(self, path: str) -> str:
        """A page that has to be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def get(self, path: str) -> TestResponse:
        answer = self._client.get(path, base_url=self._site, headers=self.headers)
        # a browser names the page that a form stands on, unless that page forbids it
        silent = answer.headers.get("Referrer-Policy") == "no-referrer"
        self._referer = {} if silent else {"Referer": self._site + path}
        return answer

    def send(self, page: str, form: str, **fields: Any) -> TestResponse:
        """Fill in the form that `page` shows, and send it to `form`."""
        return self.post(form, **{**self.hidden(page), **fields})

    def hidden(self, page: str) -> dict[str, Any]:
        """What the forms of `page` hold that nobody fills in."""
        return hidden_fields(self.get(page).text)

    def post(self, form: str, **fields: Any) -> TestResponse:
        """Send a form that no page has given."""
        return self._client.post(form, data=fields, base_url=self._site, headers=self.headers | self._referer)


def hidden_fields(page: str) -> dict[str, Any]:
    """By name; a list where there are several of one name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page):
        values = found.setdefault(name, [])
        # each form has the same token
        if unescape(value) not in values:
            values.append(unescape(value))
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
