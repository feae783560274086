"""Answers say Strict-Transport-Security behind a proxy with TLS, and not without one."""

from typing import Any

import pytest

from shared.runtime.hsts import with_hsts


@pytest.mark.parametrize("is_https", [True, False])
def test_the_header_is_there_by_https_alone(is_https: bool) -> None:
    seen: list[Any] = []

    def application(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("A", "b")])
        return [b"body"]

    body = with_hsts(application, is_https)({}, lambda status, headers: seen.append((status, dict(headers))))

    assert body == [b"body"]
    ((status, headers),) = seen
    assert status == "200 OK"
    assert ("Strict-Transport-Security" in headers) == is_https
