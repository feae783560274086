"""Answers the most frequent request, a day's document, before Flask.

Everything else, and everything that is wrong, goes on to Flask.
"""

import time
from collections.abc import Callable, Iterable
from datetime import date
from functools import lru_cache
from typing import Any

from services.stats.api import metrics
from services.stats.api.auth import ReadAccess
from services.stats.api.cache_refresher import CacheRefresher
from services.stats.api.cached_response import held
from services.stats.api.headers import ALWAYS, headers_of
from services.stats.api.snapshot_cache import Day

_PREFIX = "/api/stats/"
_STATUS = {200: "200 OK", 304: "304 NOT MODIFIED"}

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class FastPath:
    """A WSGI application before another one."""

    def __init__(self, application: Application, watch: CacheRefresher, access: ReadAccess) -> None:
        self._application = application
        self._watch = watch
        self._access = access

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        began = time.perf_counter()
        path: str = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "GET" or environ.get("QUERY_STRING") or not path.startswith(_PREFIX):
            return self._application(environ, start_response)
        day = self._day(path.removeprefix(_PREFIX))
        zipped = _prefers_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
        if day is None or zipped is None or not self._access.permits(environ):
            return self._application(environ, start_response)
        document = day.document
        had = held(document, environ.get("HTTP_IF_NONE_MATCH"), zipped)
        zipped = zipped if had is None else had
        headers = {**headers_of(document, zipped, day, self._watch.silent_seconds), **ALWAYS}
        body = b""
        if had is None:
            body = document.zipped if zipped else document.plain
            headers |= {"Content-Type": document.media_type, "Content-Length": str(len(body))}
            if zipped:
                headers["Content-Encoding"] = "gzip"
        status = 200 if had is None else 304
        start_response(_STATUS[status], list(headers.items()))
        metrics.count("/api/stats/latest" if path.endswith("latest") else "/api/stats/<day>", status, began)
        return [body] if body else []

    def _day(self, name: str) -> Day | None:
        cache = self._watch.cache
        if cache is None:
            return None
        if name == "latest":
            return cache.newest
        day = _date(name)
        return None if day is None else cache.days.get(day)


@lru_cache(maxsize=64)
def _prefers_gzip(accept_encoding: str) -> bool | None:
    """None where it takes more to find out: a header with weights or a `*`."""
    if ";" in accept_encoding or "*" in accept_encoding:
        return None
    return "gzip" in (coding.strip().lower() for coding in accept_encoding.split(","))


@lru_cache(maxsize=1024)
def _date(name: str) -> date | None:
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    # it reads other forms too, which are not addresses here
    return day if day.isoformat() == name else None
