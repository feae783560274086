"""A real OpenID Connect provider, somebody who signs in there, and a wire on which tests change its answers."""

import json
import os
import re
import subprocess
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final
from urllib.parse import urljoin

import httpx

from tests.node_modules import TOOLS, node_modules

CLIENT_ID, CLIENT_SECRET = "nouba-console", "a secret: of 100 % of the tests"
#: The console's address in the tests that need no browser.
CONSOLE: Final = "http://localhost"
ACCOUNTS: Final = {
    "amina": {"name": "Amina B.", "preferred_username": "amina", "groups": ["staff", "console-operators"]},
    "samir": {"name": "Samir", "preferred_username": "samir", "groups": ["console-viewers"]},
    "nadia": {"name": "Nadia", "preferred_username": "nadia", "groups": ["teachers"]},
}
_FOLDER: Final = Path(__file__).parent / "oidc"

Change = Callable[[Any], Any]


class Wire:
    """Stands between the provider and everybody else: what a test puts into `changes` is done to the JSON of a path."""

    def __init__(self) -> None:
        self.changes: dict[str, Change] = {}
        #: Whole answers in place of the provider's: a status, headers and a body.
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        #: Requests for a path wait for its event.
        self.gates: dict[str, Event] = {}
        self.is_away = False
        #: The paths that were asked for.
        self.asked: list[str] = []
        self.target = 0
        wire = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wire._pass_on(self)

            def do_POST(self) -> None:
                wire._pass_on(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # without a client around it, which would keep one visitor's cookies and send them for the next
        self._transport = httpx.HTTPTransport()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def restore(self) -> None:
        """Change nothing any more."""
        self.changes.clear()
        self.answers.clear()
        self.asked.clear()
        self.gates.clear()
        self.is_away = False

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._transport.close()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked.append(path)
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if path in self.gates:
            self.gates[path].wait()
        if self.is_away:
            # the caller sees a connection that is closed without an answer
            return
        if path in self.answers:
            self._answer(request, *self.answers[path])
            return
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        url = f"http://127.0.0.1:{self.target}{request.path}"
        found = self._transport.handle_request(httpx.Request(request.command, url, headers=headers, content=body))
        content = found.read()
        if path in self.changes and found.status_code == 200:
            content = json.dumps(self.changes[path](json.loads(content))).encode()
        skipped = ("content-length", "content-encoding", "transfer-encoding", "connection")
        kept = [(name, value) for name, value in found.headers.multi_items() if name.lower() not in skipped]
        self._answer(request, found.status_code, kept, content)

    @staticmethod
    def _answer(
        request: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | list[tuple[str, str]], body: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers.items() if isinstance(headers, dict) else headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


class OidcServer:
    """The provider's two issuers; `wire` is before the first."""

    def __init__(self, wire: Wire, ports: dict[str, int], console_url: str) -> None:
        self.wire = wire
        self.console_url = console_url
        wire.target = ports["own"]
        self.issuer = wire.url
        self.thin_issuer = f"http://127.0.0.1:{ports['thin']}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """The console's, by their names in Python."""
        return {
            "console_url": self.console_url,
            "console_oidc_issuer": self.issuer,
            "console_oidc_client_id": CLIENT_ID,
            "console_oidc_client_secret": CLIENT_SECRET,
            "console_oidc_scopes": "openid profile groups",
            "console_oidc_operators": "console-operators",
            "console_oidc_viewers": "console-viewers, auditors",
            "console_oidc_label": "School ID",
            **more,
        }


@contextmanager
def running_provider(log: Path, console_url: str = CONSOLE) -> Iterator[OidcServer]:
    """Starts it, for a console at `console_url`."""
    wire = Wire()
    client = {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "redirect_uris": [f"{console_url}/enter/oidc/callback"],
        "post_logout_redirect_uris": [f"{console_url}/enter"],
    }
    given = {"issuer": wire.url, "client": client, "accounts": ACCOUNTS}
    # Node finds packages beside the program that it is given
    program = node_modules(_FOLDER).parent / "provider.js"
    draft = program.with_name(f"{os.getpid()}.js")
    draft.write_bytes((_FOLDER / "provider.js").read_bytes())
    draft.replace(program)
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [str(TOOLS / "node"), str(program), json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line, log.read_text()
        yield OidcServer(wire, json.loads(line), console_url)
    finally:
        process.kill()
        process.wait()
        wire.close()


class Account:
    """Somebody's browser at the provider, with a session there once it has signed in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client = httpx.Client(follow_redirects=False, timeout=20, trust_env=False)

    def sign_in(self, address: str, console_url: str = CONSOLE) -> str:
        """Follow `address` through the provider's pages; returns the address that it leads back to."""
        return self._follow(self._client.get(address), console_url, {"login": self.name, "password": "any"})

    def sign_out(self, address: str, console_url: str = CONSOLE) -> str:
        return self._follow(self._client.get(address), console_url, {"logout": "yes"})

    def _follow(self, answer: httpx.Response, console_url: str, filled: dict[str, str]) -> str:
        for _ in range(12):
            if answer.is_redirect:
                address = urljoin(str(answer.url), answer.headers["Location"])
                if address.startswith(f"{console_url}/"):
                    return address
                answer = self._client.get(address)
                continue
            assert answer.status_code == 200, answer.text
            form = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
            assert form, answer.text
            hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
            fields = {name: unescape(value) for name, value in hidden.items()} | filled
            answer = self._client.post(urljoin(str(answer.url), unescape(form[1])), data=fields)
        raise AssertionError(f"the provider leads nowhere: {answer.url}")


def claims_of(id_token: str) -> dict[str, Any]:
    """What an ID token says, without a check."""
    payload = id_token.split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(claims, dict)
    return claims
