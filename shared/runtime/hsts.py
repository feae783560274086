"""Strict-Transport-Security on every answer of a WSGI application that browsers reach by HTTPS."""

from collections.abc import Iterable
from typing import Any

#: A year, which is the least that OWASP ASVS 5 (3.4.1) takes.
POLICY = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")


def with_hsts(application: Any, is_https: bool) -> Any:
    """`application`, with the header where `is_https`."""
    if not is_https:
        return application

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, POLICY], *more)

        answered: Iterable[bytes] = application(environ, start)
        return answered

    return answer
