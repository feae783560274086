"""Visits to the console by OpenID Connect: the steps of a sign-in, and what they lead to."""

import re
from html import unescape
from urllib.parse import urlencode

from werkzeug.test import TestResponse

from tests.console.clients import Person
from tests.console.oidc_server import CONSOLE, Account


def begin(person: Person, to: str = "", **more: str) -> str:
    """Follow the link on the page of sign-in; returns the provider's address."""
    answer = person.get(f"/enter/oidc?{urlencode({'to': to, **more})}")
    assert answer.status_code == 302, answer.text
    return answer.location


def sign_in(person: Person, name: str, to: str = "") -> TestResponse:
    return person.get(path_of(Account(name).sign_in(begin(person, to))))


def path_of(address: str) -> str:
    """Of an address of the console."""
    assert address.startswith(f"{CONSOLE}/")
    return address.removeprefix(CONSOLE)


def leads_to(answer: TestResponse) -> str:
    """The page that a page of this site goes on to by itself."""
    assert answer.status_code == 200, (answer.status_code, answer.headers.get("Location"), answer.text)
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', answer.text)
    assert found, answer.text
    return unescape(found[1])


def refused(answer: TestResponse) -> str:
    """The reason, by the page that a refusal leads to."""
    assert answer.status_code == 302, answer.text
    found = re.fullmatch(r"/enter/refused/(\w+)", answer.location)
    assert found, answer.location
    return found[1]
