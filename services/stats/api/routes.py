"""The statistics' HTTP: addresses in, documents out."""

import time
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, current_app, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from services.stats.api import auth, metrics, openapi, readiness
from services.stats.api.cache import Day, SnapshotCache
from services.stats.api.cache_refresher import CacheRefresher
from services.stats.api.comparison import compared
from services.stats.api.dashboard.i18n import choose_language
from services.stats.api.dashboard.render import POLICY as PAGE_POLICY
from services.stats.api.dashboard.render import page_of
from services.stats.api.errors import (
    DayNotStoredError,
    MalformedError,
    NoSnapshotError,
    NoTokenError,
    ReaderError,
    TooManyFailuresError,
)
from services.stats.api.headers import ALWAYS, headers_of
from services.stats.api.responses import CachedResponse, held, json_document
from services.stats.api.series import series

stats = Blueprint("stats", __name__)

#: The longest range of days in one answer: a leap year.
LARGEST_RANGE_DAYS = 366
RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """What the routes are given; kept in `app.extensions["reading"]`."""

    watch: CacheRefresher
    access: auth.ReadAccess
    zone: ZoneInfo
    ready_hours: float


@stats.get("/api/stats/latest")
def show_latest() -> ResponseReturnValue:
    shelf = _shelf()
    return _show_day(shelf, _kept(shelf, shelf.last))


@stats.get("/api/stats/<day>")
def show_day(day: str) -> ResponseReturnValue:
    shelf = _shelf()
    return _show_day(shelf, _kept(shelf, _date(day)))


@stats.get("/api/stats")
def show_series() -> ResponseReturnValue:
    first, last = (_date(request.args.get(name, ""), name) for name in ("from", "to"))
    if first > last:
        raise MalformedError(f"The range begins after it ends: from={first} is later than to={last}.")
    if (last - first).days >= LARGEST_RANGE_DAYS:
        raise MalformedError(f"{(last - first).days + 1} days are too many: ask for at most {LARGEST_RANGE_DAYS}.")
    shelf = _shelf()
    return _answer(
        shelf.make(("series", first, last), lambda: json_document(series(shelf.between(first, last)))),
    )


@stats.get("/")
def show_page() -> ResponseReturnValue:
    asked = request.args.get("day")
    shelf = _shelf()
    day = shelf.last if asked is None else _date(asked, "day")
    language = choose_language(request.args.get("lang"), request.accept_languages)
    response = _answer(
        shelf.make(("page", day, language), lambda: page_of(shelf, day, language)),
        None if day is None else shelf.days.get(day),
        varies_by="Accept-Language, Accept-Encoding",
        status=200 if day in shelf.days else 404,
    )
    response.headers["Content-Language"] = language
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


@stats.get("/healthz")
def show_health() -> ResponseReturnValue:
    return jsonify(status="ok")


@stats.get("/readyz")
def show_readiness() -> ResponseReturnValue:
    reading = _reading()
    found = readiness.check(reading.watch, reading.zone, reading.ready_hours)
    return jsonify(found.as_json()), 200 if found.is_ready else 503


@stats.get("/openapi.json")
def show_openapi() -> ResponseReturnValue:
    return jsonify(openapi.DOCUMENT)


@stats.get("/docs")
def show_docs() -> ResponseReturnValue:
    return openapi.page()


def _reading() -> Reading:
    found: Reading = current_app.extensions["reading"]
    return found


def _shelf() -> SnapshotCache:
    """The days as one request sees them, from its beginning to its end."""
    shelf = _reading().watch.shelf
    if shelf is None:
        raise NoSnapshotError
    return shelf


def _kept(shelf: SnapshotCache, day: date | None) -> Day:
    found = None if day is None else shelf.days.get(day)
    if found is None:
        raise DayNotStoredError(day, shelf.first, shelf.last)
    return found


def _date(text: str, name: str | None = None) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    # fromisoformat reads other forms too
    if found is None or found.isoformat() != text:
        where = f"{name}=" if name else ""
        raise MalformedError(f"{where}{text[:40]!r} is no day: write it as YYYY-MM-DD, such as 2026-11-22.")
    return found


def _show_day(shelf: SnapshotCache, day: Day) -> Response:
    compare = request.args.get("compare", "0")
    if compare not in ("0", "1"):
        raise MalformedError("compare is 1 for a comparison with the day, the week and the month before, or 0.")
    if compare == "0":
        return _answer(day.document, day)
    return _answer(shelf.make(("compared", day.day), lambda: json_document(compared(shelf, day))), day)


def _answer(
    document: CachedResponse, day: Day | None = None, *, varies_by: str = "Accept-Encoding", status: int = 200
) -> Response:
    """`document` in the coding that the reader prefers, or 304 if the reader has it."""
    prefers_gzip = request.accept_encodings.quality("gzip") > 0
    had = held(document, request.headers.get("If-None-Match"), prefers_gzip) if status == 200 else None
    zipped = prefers_gzip if had is None else had
    headers = headers_of(document, zipped, day, _reading().watch.silent_seconds) | {"Vary": varies_by}
    if status != 200:
        headers["Cache-Control"] = "no-store"
    if had is not None:
        return Response(status=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
    body = document.zipped if zipped else document.plain
    return Response(body, status, headers, content_type=document.media_type)


@stats.before_app_request
def begin() -> None:
    g.began = time.perf_counter()
    if request.path not in auth.OPEN:
        _reading().access.require(request.environ)


@stats.after_app_request
def finish(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "none"
    metrics.count(route, response.status_code, g.began)
    for name, value in {"Cache-Control": "no-store", **ALWAYS}.items():
        response.headers.setdefault(name, value)
    return response


@stats.app_errorhandler(ReaderError)
def refuse(error: ReaderError) -> ResponseReturnValue:
    response = _problem(error.status, error.code, str(error))
    if isinstance(error, NoTokenError):
        response.headers["WWW-Authenticate"] = auth.CHALLENGE
    if isinstance(error, TooManyFailuresError):
        response.headers["Retry-After"] = "60"
    if isinstance(error, NoSnapshotError):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@stats.app_errorhandler(HTTPException)
def explain(error: HTTPException) -> ResponseReturnValue:
    response = _problem(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
    response.headers.extend(
        (name, value) for name, value in error.get_headers(request.environ) if name not in ("Content-Type",)
    )
    return response


def _problem(status: int, code: str, message: str) -> Response:
    response = jsonify(error=code, message=message)
    response.status_code = status
    return response
