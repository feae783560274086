"""Routes of the statistics API."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import structlog
from flask import Blueprint, Response, abort, current_app, g, jsonify, request, send_from_directory
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from services.stats.api import auth, metrics, openapi, readiness
from services.stats.api.cache_refresher import CacheRefresher
from services.stats.api.cached_response import CachedResponse, held, json_document
from services.stats.api.comparison import compared
from services.stats.api.csv_documents import csv_of, rows_as_csv
from services.stats.api.dashboard.render import POLICY as PAGE_POLICY
from services.stats.api.dashboard.render import Policy, page_of
from services.stats.api.dashboard.rows_page import ROWS_SHOWN, no_rows_page, rows_page
from services.stats.api.dashboard.view_model import VIEWS
from services.stats.api.definitions import definitions
from services.stats.api.errors import (
    DayNotStoredError,
    MalformedError,
    NoSnapshotError,
    NoTokenError,
    ReaderError,
    SlowRowsError,
    TooManyFailuresError,
)
from services.stats.api.headers import ALWAYS, headers_of
from services.stats.api.rollup import periods
from services.stats.api.rows_query import RowsQuery
from services.stats.api.series import series
from services.stats.api.snapshot_cache import Day, SnapshotCache
from services.stats.errors import RowsTimeoutError
from services.stats.rows.read_page import NoRowsError, as_json
from services.stats.rows.reader import RowReader
from services.stats.rows.request_model import PAGE
from shared import api_reference
from shared.runtime.health import healthy
from shared.runtime.languages import choose_language
from shared.runtime.logs import describe

stats = Blueprint("stats", __name__)
log = structlog.get_logger(__name__)

#: What may be asked for at each address; anything else is a mistake, and is said to be one.
_PARAMETERS: Mapping[str, frozenset[str]] = {
    "stats.show_latest": frozenset({"compare", "format"}),
    "stats.show_day": frozenset({"compare", "format"}),
    "stats.show_rows": frozenset({"from", "number", "key", "after", "after_day", "order", "limit", "format"}),
    "stats.show_definitions": frozenset(),
    "stats.show_series": frozenset({"from", "to", "step", "format"}),
    "stats.show_rows_page": frozenset({"day", "from", "number", "key", "after", "after_day", "order", "lang"}),
    "stats.show_page": frozenset({"day", "lang", "view"}),
}
_DEFINITIONS = json_document(definitions())

#: The longest range of days in one answer: a leap year.
LARGEST_RANGE_DAYS = 366
#: What a range may be cut into, and how many days it may have then.
STEPS = {"day": LARGEST_RANGE_DAYS, **dict.fromkeys(("week", "month", "year", "school_year"), 10 * LARGEST_RANGE_DAYS)}
RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """What the routes are given; kept in `app.extensions["reading"]`."""

    watch: CacheRefresher
    access: auth.ReadAccess
    zone: ZoneInfo
    ready_hours: float
    rows: RowReader
    policy: Policy


@stats.get("/api/stats/latest")
def show_latest() -> ResponseReturnValue:
    cache = _cache()
    return _show_day(cache, _kept(cache, cache.last))


@stats.get("/api/stats/definitions")
def show_definitions() -> ResponseReturnValue:
    return _answer(_DEFINITIONS)


@stats.get("/api/stats/<day>")
def show_day(day: str) -> ResponseReturnValue:
    cache = _cache()
    return _show_day(cache, _kept(cache, _date(day)))


@stats.get("/api/stats/<day>/rows")
def show_rows(day: str) -> ResponseReturnValue:
    """Not from memory: the rows are too many to be held."""
    cache, last = _cache(), _date(day)
    query, limit = _rows_query(cache, _kept(cache, last)), _whole("limit", PAGE, 10 * PAGE)
    number, key = query.number, query.key
    if query.is_range and not query.adds_up:
        raise MalformedError(f"{number[:60]} is not added up over days: leave out from.")
    try:
        found = _reading().rows.read_days(
            query.to_read(), number, key, query.after, limit, largest_first=bool(query.largest_first)
        )
    except NoRowsError as error:
        raise MalformedError(str(error)) from error
    except RowsTimeoutError as error:
        log.warning("rows were not found in time", number=number)
        raise SlowRowsError(str(error)) from error
    except SQLAlchemyError as error:
        log.warning("rows could not be read", number=number, error=describe(error))
        raise NoSnapshotError from error
    if _wants_csv():
        return _answer(rows_as_csv(found.rows))
    return _answer(
        json_document(
            {
                "day": day,
                "from": query.days[0].day.isoformat(),
                "number": number,
                "key": key,
                "value": query.figure if key is None else query.value,
                "rows": as_json(found.rows),
                "next": found.next,
                "next_day": found.next_day.isoformat() if found.next_day else None,
            }
        )
    )


def _rows_query(cache: SnapshotCache, last: Day) -> RowsQuery:
    """What is asked for of the days up to `last`."""
    first = _date(request.args.get("from", str(last.day)), "from")
    after_day = _date(request.args.get("after_day", str(first)), "after_day")
    if not first <= after_day <= last.day:
        raise MalformedError(f"from={first}, after_day={after_day} and {last.day} are not in this order.")
    if (last.day - first).days >= LARGEST_RANGE_DAYS:
        raise MalformedError(f"{(last.day - first).days + 1} days are too many: ask for at most {LARGEST_RANGE_DAYS}.")
    order = request.args.get("order")
    if order not in (None, "id", "largest"):
        raise MalformedError("order is id or largest.")
    days = [_kept(cache, day) for day in cache.between(first, last.day)]
    return RowsQuery(days, _text("number") or "", _text("key"), _whole("after", 0, 2**62), after_day, order)


def _text(name: str) -> str | None:
    found = request.args.get(name)
    # PostgreSQL has no text with a zero in it
    if found is not None and "\0" in found:
        raise MalformedError(f"{name} has a zero byte in it.")
    return found


def _whole(name: str, default: int, largest: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not (name == "limit") <= int(text) <= largest:
        raise MalformedError(f"{name}={text[:40]!r} is no whole number up to {largest}.")
    return int(text)


@stats.get("/api/stats")
def show_series() -> ResponseReturnValue:
    first, last = (_date(request.args.get(name, ""), name) for name in ("from", "to"))
    if first > last:
        raise MalformedError(f"The range begins after it ends: from={first} is later than to={last}.")
    step = request.args.get("step", "day")
    if step not in STEPS:
        raise MalformedError(f"step is one of {', '.join(STEPS)}.")
    largest = STEPS[step]
    if (last - first).days >= largest:
        raise MalformedError(f"{(last - first).days + 1} days are too many: ask for at most {largest}.")
    cache = _cache()
    days = cache.between(first, last)
    if step != "day":
        if _wants_csv():
            raise MalformedError("CSV is of days: leave out step or format=csv.")
        return _answer(cache.make((step, first, last), lambda: json_document(periods(days, step))))
    if _wants_csv():
        return _answer(cache.make(("csv", first, last), lambda: csv_of(filter(None, days.values()))))
    return _answer(cache.make(("series", first, last), lambda: json_document(series(days))))


@stats.get("/")
def show_page() -> ResponseReturnValue:
    asked = request.args.get("day")
    cache = _cache()
    day = cache.last if asked is None else _date(asked, "day")
    view = request.args.get("view", VIEWS[0])
    if view not in VIEWS:
        raise MalformedError(f"view is one of {', '.join(VIEWS)}.")
    language = choose_language(request.args.get("lang"), request.accept_languages)
    return _as_page(
        cache.make(("page", day, language, view), lambda: page_of(cache, day, language, _reading().policy, view)),
        language,
        None if day is None else cache.days.get(day),
        status=200 if day in cache.days else 404,
    )


def _as_page(page: CachedResponse, language: str, day: Day | None = None, *, status: int = 200) -> Response:
    response = _answer(page, day, varies_by="Accept-Language, Accept-Encoding", status=status)
    response.headers["Content-Language"] = language
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    return response


@stats.get("/rows")
def show_rows_page() -> ResponseReturnValue:
    """The rows behind a number, for people."""
    asked = request.args.get("day")
    cache = _cache()
    day = cache.last if asked is None else _date(asked, "day")
    language = choose_language(request.args.get("lang"), request.accept_languages)
    kept = None if day is None else cache.days.get(day)
    if kept is None:
        return _as_page(page_of(cache, day, language, _reading().policy), language, status=404)
    try:
        query = _rows_query(cache, kept)
    except DayNotStoredError as error:
        return _as_page(page_of(cache, error.day, language, _reading().policy), language, status=404)
    if query.definition is None:
        return _as_page(no_rows_page(query, language, "unknown"), language, status=404)
    if query.is_range and not query.adds_up:
        return _as_page(no_rows_page(query, language, "no_range"), language, status=404)
    try:
        found = _reading().rows.read_days(
            *(query.to_read(), query.number, query.key, query.after, ROWS_SHOWN),
            with_users=True,
            largest_first=query.largest_first,
        )
    except NoRowsError:
        return _as_page(no_rows_page(query, language, "no_sum"), language, status=404)
    except (RowsTimeoutError, SQLAlchemyError) as error:
        log.warning("rows could not be read", number=query.number, error=describe(error))
        reason = "slow" if isinstance(error, RowsTimeoutError) else "away"
        response = _as_page(no_rows_page(query, language, reason), language, status=503)
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return response
    response = _as_page(rows_page(query, found, language), language, kept)
    # it names people, whom the school may erase
    response.headers["Cache-Control"] = "no-store"
    return response


@stats.get("/healthz")
def show_health() -> ResponseReturnValue:
    return healthy()


@stats.get("/readyz")
def show_readiness() -> ResponseReturnValue:
    reading = _reading()
    found = readiness.check(reading.watch, reading.zone, reading.ready_hours)
    return jsonify(found.as_json()), 200 if found.is_ready else 503


@stats.get("/openapi.json")
def show_openapi() -> ResponseReturnValue:
    return jsonify(openapi.DOCUMENT)


# the page's links are relative: at /docs/ they would lead nowhere
@stats.get("/docs", strict_slashes=True)
def show_docs() -> ResponseReturnValue:
    page = Response(api_reference.write_page(openapi.DOCUMENT["info"]["title"]), mimetype="text/html")
    page.headers["Content-Security-Policy"] = api_reference.POLICY
    return page


@stats.get("/docs/<file>")
def show_docs_file(file: str) -> ResponseReturnValue:
    if file not in api_reference.FILES:
        abort(404, "The page has no such file.")
    return send_from_directory(api_reference.FOLDER, file, mimetype=api_reference.FILES[file])


def _reading() -> Reading:
    found: Reading = current_app.extensions["reading"]
    return found


def _cache() -> SnapshotCache:
    """The days as one request sees them, from its beginning to its end."""
    cache = _reading().watch.cache
    if cache is None:
        raise NoSnapshotError
    return cache


def _kept(cache: SnapshotCache, day: date | None) -> Day:
    found = None if day is None else cache.days.get(day)
    if found is None:
        raise DayNotStoredError(day, cache.first, cache.last)
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


def _show_day(cache: SnapshotCache, day: Day) -> Response:
    compare = request.args.get("compare", "0")
    if compare not in ("0", "1"):
        raise MalformedError("compare is 1 for a comparison with the day, the week and the month before, or 0.")
    if _wants_csv():
        if compare == "1":
            raise MalformedError("A comparison is JSON: leave out compare=1 or format=csv.")
        return _answer(cache.make(("csv", day.day, day.day), lambda: csv_of([day])), day)
    if compare == "0":
        return _answer(day.document, day)
    return _answer(cache.make(("compared", day.day), lambda: json_document(compared(cache, day))), day)


def _wants_csv() -> bool:
    found = request.args.get("format", "json")
    if found not in ("json", "csv"):
        raise MalformedError("format is json or csv.")
    return found == "csv"


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
    if request.path not in auth.OPEN and request.endpoint != "stats.show_docs_file":
        _reading().access.require(request.environ)
    known = _PARAMETERS.get(request.endpoint or "")
    if known is not None and (unknown := sorted(request.args.keys() - known)):
        names = ", ".join(sorted(known)) or "none"
        raise MalformedError(f"Unknown parameter {unknown[0][:40]!r}; this address knows: {names}.")


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
    if isinstance(error, NoSnapshotError | SlowRowsError):
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
