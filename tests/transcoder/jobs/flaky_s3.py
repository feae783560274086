"""An S3 that fails: passes requests on to the real one, and spoils a share of them in every way a network can."""

import http.client
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
_FAULT = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>made on purpose</Message></Error>'


class FlakyS3:
    """Start it with `with`; `url` is its address. `spoilt` counts what went wrong, by how."""

    def __init__(self, endpoint_url: str, share: float, seed: int = 7) -> None:
        address = urlsplit(endpoint_url).netloc
        dice, guard, self.spoilt = random.Random(seed), threading.Lock(), dict.fromkeys(WAYS, 0)

        def chosen() -> str:
            with guard:
                way = dice.choice(WAYS) if dice.random() < share else ""
                if way:
                    self.spoilt[way] += 1
                return way

        handler = type("Handler", (_Handler,), {"address": address, "chosen": staticmethod(chosen)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FlakyS3":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


#: Refused at once; cut before it arrived; done, but the answer is cut; the answer's body is cut in the middle.
WAYS = ("refused", "lost", "done and lost", "half")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    address: ClassVar[str]

    @staticmethod
    def chosen() -> str:
        raise AssertionError("each server has its own")

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        way = self.chosen()
        if way == "refused":
            self._answer(500, {"Content-Type": "application/xml"}, _FAULT, len(_FAULT))
            return
        if way == "lost":
            self.close_connection = True
            return
        # the signature covers the address that the client knows, so the headers go on as they are
        with_http = http.client.HTTPConnection(self.address, timeout=30)
        try:
            with_http.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    with_http.putheader(name, value)
            with_http.endheaders(body)
            answer = with_http.getresponse()
            data = answer.read()
            length = int(answer.getheader("Content-Length") or len(data))
            if way == "done and lost" or (way == "half" and len(data) < 2):
                self.close_connection = True
                return
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
            self._answer(answer.status, headers, data[: len(data) // 2] if way == "half" else data, length)
            self.close_connection = way == "half"
        finally:
            with_http.close()

    def _answer(self, status: int, headers: dict[str, str], data: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
