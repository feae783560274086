"""Reads a request body within limits of size and time."""

from collections.abc import Mapping
from typing import Any

from gunicorn.http.errors import ParseException

from services.webhook_gateway.errors import BodyTooLargeError, BodyTooSlowError, BrokenBodyError, EncodedBodyError
from shared.runtime.socket_deadlines import SocketDeadlines


class BodyReader:
    """Reads whole bodies, as gunicorn hands them on."""

    def __init__(self, limit_bytes: int, limit_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._limit_seconds = limit_seconds
        self._deadlines = SocketDeadlines()

    def read(self, environ: Mapping[str, Any]) -> bytes:
        """The body as sent. Raises EncodedBodyError, BodyTooLargeError, BodyTooSlowError or BrokenBodyError."""
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            raise EncodedBodyError
        declared = int(environ.get("CONTENT_LENGTH") or 0)
        if declared > self._limit_bytes:
            raise BodyTooLargeError(self._limit_bytes)
        if not declared and "HTTP_TRANSFER_ENCODING" not in environ:
            return b""
        body = self._read(environ, declared or self._limit_bytes + 1)
        if len(body) > self._limit_bytes:
            raise BodyTooLargeError(self._limit_bytes)
        if len(body) < declared:
            raise BrokenBodyError
        return body

    def _read(self, environ: Mapping[str, Any], size: int) -> bytes:
        with self._deadlines.within(environ["gunicorn.socket"], self._limit_seconds) as deadline:
            try:
                body: bytes = environ["wsgi.input"].read(size)
            except (OSError, ParseException):
                # the sender hung up, or what it calls chunks are none
                body, broken = b"", True
            else:
                broken = False
        if deadline.passed:
            raise BodyTooSlowError(self._limit_seconds)
        if broken:
            raise BrokenBodyError
        return body
