"""OpenAPI 3.1 document of the statistics API."""

from importlib.metadata import version
from typing import Any

from shared.api_reference import FILES

#: For what is no page.
POLICY = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"

_ERROR = {"$ref": "#/components/schemas/Error"}
_DAY = {"$ref": "#/components/schemas/Day"}
_READINESS = {"$ref": "#/components/schemas/Readiness"}
_DATE = {"type": "string", "format": "date"}
_TEXT = {"type": "string"}


def _parameter(
    name: str, description: str, schema: dict[str, Any], place: str = "query", **more: Any
) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema, **more}


def _header(description: str, *, required: bool = True, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": kind}}


def _answer(
    description: str, schema: dict[str, Any], media_type: str = "application/json", **headers: dict[str, Any]
) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": description, "content": {media_type: {"schema": schema}}}
    if headers:
        answer["headers"] = {name.replace("_", "-"): header for name, header in headers.items()}
    return answer


_CACHED = {
    "ETag": _header("Strong; another one for each coding. Either of the two in If-None-Match is answered 304."),
    "Cache-Control": _header("A minute, and longer while a newer answer is fetched."),
    "Vary": _header("Accept-Encoding: gzip is sent where it is accepted."),
    "Nouba-Stale-Seconds": _header(
        "Only while the database is away: how long ago it last said what the newest versions are.",
        required=False,
        kind="integer",
    ),
}
_OF_A_DAY = {
    "Nouba-Day": _header("The day."),
    "Nouba-Version": _header("The day's version, counted from 1.", kind="integer"),
    "Nouba-Computed-At": _header("When it was computed."),
}
_UNCHANGED = {"description": "What If-None-Match names is still the newest.", "headers": {"ETag": _CACHED["ETag"]}}
_MALFORMED = _answer("What was asked for is not a day, or not a range of days.", _ERROR)
_NOT_KEPT = _answer("The day is not kept; the message says which days are.", _ERROR)
_REFUSALS = {
    "401": _answer(
        "A token is missing or wrong; only where NOUBA_API_TOKENS is set.",
        _ERROR,
        WWW_Authenticate=_header("Bearer and Basic."),
    ),
    "403": _answer("The token lacks the scope `read`.", _ERROR),
    "421": _answer("The Host header names a host that is not served here.", _ERROR),
    "429": _answer("Too many wrong tokens.", _ERROR, Retry_After=_header("Seconds to wait.", kind="integer")),
    "503": _answer(
        "The database has not answered, or not in time.",
        _ERROR,
        Retry_After=_header("Seconds to wait.", kind="integer"),
    ),
}
_COMPARE = _parameter(
    "compare", "1 adds the key `comparison`: beside the day, the week and the month before.", {"enum": ["0", "1"]}
)
_FORMAT = _parameter("format", "csv: a line for every day, number and key.", {"enum": ["json", "csv"]})
_PATH_DAY = _parameter("day", "A day in the school's zone.", _DATE, "path", required=True, example="2026-11-22")
_IF_NONE_MATCH = _parameter("If-None-Match", "Entity tags that the reader has.", {"type": "string"}, "header")
_EXAMPLE = "2026-11-22"
_NUMBER = _parameter(
    "number",
    "A number's id; `corrections.` before it asks for its corrections.",
    {"type": "string"},
    required=True,
    example="revenue.net",
)
_KEY = _parameter("key", "One key of a breakdown.", {"type": "string"})
_AFTER = _parameter("after", "`next` of the page before.", {"type": "integer", "minimum": 0})
_FROM = _parameter(
    "from", "The first of at most 366 days up to this one, for a number that is summed over days.", _DATE
)
_ORDER = _parameter(
    "order",
    "`largest`: wallets (wallets.credit, wallets.debt, wallets.debtors) by what they hold or lack, the largest first; "
    "`next` goes on in the same order.",
    {"enum": ["id", "largest"]},
)
_AFTER_DAY = _parameter("after_day", "`next_day` of the page before.", _DATE)
_LANGUAGE = _parameter("lang", "en, fr or ar; what the browser prefers unless it is given.", {"type": "string"})


def _read(
    operation: str, summary: str, answer: dict[str, Any], parameters: list[dict[str, Any]], *refusals: str, **more: Any
) -> dict[str, Any]:
    not_kept = {"showPage": _NO_PAGE, "showRowsPage": _NO_ROWS_PAGE}.get(operation, _NOT_KEPT)
    found = {"400": _MALFORMED, "404": not_kept, **_REFUSALS}
    if operation == "showRowsPage":
        found["503"] = _NO_ROWS_NOW
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "parameters": [*parameters, _IF_NONE_MATCH],
            "responses": {
                "200": answer,
                "304": _UNCHANGED,
                **{status: found[status] for status in (*refusals, "403", "421", "429")},
            },
            "security": [{}, {"token": []}],
            **more,
        }
    }


def _plain(operation: str, summary: str, **responses: Any) -> dict[str, Any]:
    found = {status.removeprefix("status_"): answer for status, answer in responses.items()}
    return {"get": {"operationId": operation, "summary": summary, "responses": found}}


def _docs_file() -> dict[str, Any]:
    found = _plain(
        "showDocsFile",
        "A file of that page",
        status_200=_answer("The file.", {"type": "string"}, "text/css"),
        status_404=_answer("The page has no such file.", _ERROR),
    )
    found["get"]["responses"]["200"]["content"]["text/javascript"] = {"schema": {"type": "string"}}
    found["get"]["parameters"] = [_parameter("file", "Its name.", {"enum": sorted(FILES)}, "path", required=True)]
    return found


_DAY_ANSWER = _answer("The day as canonical JSON; the tag of the plain bytes is their SHA-256.", _DAY)
_DAY_ANSWER["headers"] = {**_CACHED, **_OF_A_DAY}
_SERIES_ANSWER = _answer("A list for every number, a value a day.", {"$ref": "#/components/schemas/Series"})
_SERIES_ANSWER["headers"] = _CACHED
_DEFINITIONS_ANSWER = _answer("All numbers.", {"$ref": "#/components/schemas/Definitions"})
_DEFINITIONS_ANSWER["headers"] = _CACHED
for _one in (_DAY_ANSWER, _SERIES_ANSWER):
    _one["content"]["text/csv"] = {"schema": {"type": "string"}}
_ROWS_ANSWER = _answer("A page of rows, day by day in the order of their ids.", {"$ref": "#/components/schemas/Rows"})
_ROWS_ANSWER["content"]["text/csv"] = {"schema": {"type": "string"}}
_ROWS_ANSWER["headers"] = _CACHED
_PAGE_ANSWER = _answer("The page.", {"type": "string"}, "text/html")
_PAGE_ANSWER["headers"] = _CACHED
_NO_PAGE = _answer("The day is not kept; the page says which days are.", {"type": "string"}, "text/html")
_NO_ROWS_PAGE = _answer("No such day or number, or it is no sum of rows; the page says which.", _TEXT, "text/html")
_NO_ROWS_NOW = {**_REFUSALS["503"], "content": {**_REFUSALS["503"]["content"], "text/html": {"schema": _TEXT}}}

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Nouba statistics",
        "version": version("nouba"),
        "description": "The numbers of every day that is over, each from its newest complete version. A reader "
        "sends one of NOUBA_API_TOKENS with the scope `read`; where none is set, everybody on the machine may read.",
    },
    "paths": {
        "/api/stats/latest": _read(
            "showLatest", "The newest day", _DAY_ANSWER, [_COMPARE, _FORMAT], "400", "404", "401", "503"
        ),
        "/api/stats/{day}": _read(
            "showDay",
            "One day",
            _DAY_ANSWER,
            [_PATH_DAY, _COMPARE, _FORMAT],
            "400",
            "404",
            "401",
            "503",
        ),
        "/api/stats/definitions": _read(
            "showDefinitions", "What every number means, and what has to agree", _DEFINITIONS_ANSWER, [], "400", "401"
        ),
        "/api/stats/{day}/rows": _read(
            "showRows",
            "The rows behind a number of a day, or of several days, which add up to it",
            _ROWS_ANSWER,
            [
                _PATH_DAY,
                _FROM,
                _NUMBER,
                _KEY,
                _AFTER,
                _AFTER_DAY,
                _ORDER,
                _parameter(
                    "limit", "Rows of a page; 1000 unless given.", {"type": "integer", "minimum": 1, "maximum": 10_000}
                ),
                _FORMAT,
            ],
            "400",
            "404",
            "401",
            "503",
        ),
        "/api/stats": _read(
            "showSeries",
            "Every number over a range of at most 366 days, or by weeks, months and years",
            _SERIES_ANSWER,
            [
                _parameter("from", "The first day.", _DATE, required=True, example="2026-10-24"),
                _parameter("to", "The last day.", _DATE, required=True, example=_EXAMPLE),
                _parameter(
                    "step",
                    "Weeks (from Sunday), months, years or school years (from September) in place of days, of at most "
                    "ten years: sums, and the last day's value of what stands at a day's end. A range that ends within "
                    "one is its part to date.",
                    {"enum": ["day", "week", "month", "year", "school_year"]},
                ),
                _FORMAT,
            ],
            "400",
            "401",
            "503",
        ),
        "/": _read(
            "showPage",
            "A page for people",
            _PAGE_ANSWER,
            [
                _parameter("day", "The newest one unless it is given.", _DATE, example=_EXAMPLE),
                _parameter(
                    "view", "The numbers of the school, or of its operators.", {"enum": ["school", "operations"]}
                ),
                _LANGUAGE,
            ],
            "400",
            "404",
            "401",
            "503",
        ),
        "/rows": _read(
            "showRowsPage",
            "The rows behind a number, for people",
            _PAGE_ANSWER,
            [
                _parameter("day", "The newest one unless it is given.", _DATE, example=_EXAMPLE),
                _FROM,
                _NUMBER,
                _KEY,
                _AFTER,
                _AFTER_DAY,
                _ORDER,
                _LANGUAGE,
            ],
            "400",
            "404",
            "401",
            "503",
        ),
        "/healthz": _plain(
            "showHealth",
            "The process answers",
            status_200=_answer("It does.", {"type": "object", "properties": {"status": {"const": "ok"}}}),
        ),
        "/readyz": _plain(
            "showReadiness",
            "The newest day is fresh and the database answers",
            status_200=_answer("So it is.", _READINESS),
            status_503=_answer("It is not; `reason` says why.", _READINESS),
        ),
        "/openapi.json": _plain(
            "showOpenapi", "This document", status_200=_answer("The document.", {"type": "object"})
        ),
        "/docs": _plain(
            "showDocs",
            "This document for people",
            status_200=_answer("The page.", {"type": "string"}, "text/html"),
        ),
        "/docs/{file}": _docs_file(),
    },
    "components": {
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        "schemas": {
            "Day": {
                "type": "object",
                "required": ["day", "zone", "currency", "definitions", "complete", "sections"],
                "properties": {
                    "day": _DATE,
                    "zone": {"type": "string"},
                    "currency": {"type": "string"},
                    "definitions": {"type": "integer"},
                    "complete": {
                        "type": "boolean",
                        "description": "False where a section failed; its reason is in it.",
                    },
                    "closed": {
                        "type": "boolean",
                        "description": "The month is closed: its numbers stay; what comes later is in `corrections`.",
                    },
                    "corrections": {
                        "type": "object",
                        "description": "On a month's first day: by how much numbers of closed days would be others.",
                        "additionalProperties": {
                            "anyOf": [
                                {"type": "integer"},
                                {"type": "object", "additionalProperties": {"type": "integer"}},
                            ]
                        },
                    },
                    "corrected_months": {
                        "type": "object",
                        "description": "Where there are corrections: the closed months (YYYY-MM) that each is of.",
                        "additionalProperties": {
                            "anyOf": [
                                {"type": "array", "items": {"type": "string"}},
                                {
                                    "type": "object",
                                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                                },
                            ]
                        },
                    },
                    "names": {
                        "type": "object",
                        "description": "What the school called the chapters, lessons and teachers whose ids are keys.",
                        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                    "sections": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Section"}},
                    "comparison": {"$ref": "#/components/schemas/Comparison"},
                },
            },
            "Section": {
                "type": "object",
                "oneOf": [{"required": ["numbers"]}, {"required": ["failed"]}],
                "properties": {
                    "failed": {"type": "string", "description": "Why the section could not be counted."},
                    "numbers": {
                        "type": "object",
                        "additionalProperties": {
                            "anyOf": [
                                {"type": "integer"},
                                {"type": "object", "additionalProperties": {"type": "integer"}},
                            ]
                        },
                    },
                },
            },
            "Comparison": {
                "type": "object",
                "required": ["day_before", "week_before", "month_before"],
                "additionalProperties": {
                    "type": ["object", "null"],
                    "required": ["day", "etag", "numbers"],
                    "properties": {
                        "day": _DATE,
                        "etag": {"type": "string"},
                        "numbers": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "object",
                                "required": ["then", "change"],
                                "properties": {
                                    "then": {"type": "integer"},
                                    "change": {"type": "integer"},
                                    "change_basis_points": {"type": "integer"},
                                },
                            },
                        },
                    },
                },
            },
            "Series": {
                "type": "object",
                "required": ["from", "to", "missing", "failed", "currency", "sections"],
                "properties": {
                    "from": _DATE,
                    "to": _DATE,
                    "days": {"type": "array", "items": _DATE},
                    "step": {"type": "string"},
                    "periods": {"type": "array", "items": {"type": "object", "required": ["from", "to"]}},
                    "missing": {"type": "array", "items": _DATE, "description": "Days of the range that are not kept."},
                    "failed": {
                        "type": "object",
                        "description": "Days of which sections failed: their names, and why.",
                        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                    "currency": {"type": ["string", "null"]},
                    "closed_until": {
                        "type": ["string", "null"],
                        "description": "The last day of the range that is closed.",
                    },
                    "generated_at": {
                        "type": ["string", "null"],
                        "description": "When the newest of these days was computed; of one day, `Nouba-Computed-At`.",
                    },
                    "corrections": {
                        "type": "object",
                        "description": "What is booked for facts of closed months, in the shape of the numbers.",
                    },
                    "sections": {"type": "object"},
                },
            },
            "Rows": {
                "type": "object",
                "required": ["day", "from", "number", "key", "value", "rows", "next", "next_day"],
                "properties": {
                    "day": _DATE,
                    "from": _DATE,
                    "number": {"type": "string"},
                    "key": {"type": ["string", "null"]},
                    "value": {"type": ["integer", "object", "null"]},
                    "next": {"type": ["integer", "null"], "description": "For `after`; null on the last page."},
                    "next_day": {
                        "type": ["string", "null"],
                        "format": "date",
                        "description": "For `after_day`; null on the last page.",
                    },
                    "rows": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": [
                                "source",
                                "id",
                                "user_id",
                                "at",
                                "key",
                                "amount",
                                "day",
                                "chapter",
                                "ends_at",
                                "counted_on",
                                "transaction_id",
                                "kind",
                                "payment_id",
                                "payment_minor",
                                "payment_reference",
                                "age_days",
                            ],
                        },
                    },
                },
            },
            "Definitions": {
                "type": "object",
                "required": ["definitions", "numbers", "identities"],
                "properties": {
                    "definitions": {"type": "integer"},
                    "numbers": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["id", "unit", "definition", "by", "observed", "source"],
                        },
                    },
                    "identities": {"type": "array", "items": {"type": "object", "required": ["number", "is"]}},
                },
            },
            "Error": {
                "type": "object",
                "required": ["error", "message"],
                "additionalProperties": False,
                "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
            },
            "Readiness": {
                "type": "object",
                "required": ["status", "database", "newest_day", "age_seconds", "reason"],
                "additionalProperties": False,
                "properties": {
                    "status": {"enum": ["ready", "not ready"]},
                    "database": {"type": "boolean"},
                    "newest_day": {"type": ["string", "null"], "format": "date"},
                    "age_seconds": {"type": ["number", "null"]},
                    "reason": {"type": ["string", "null"]},
                },
            },
        },
    },
}


for _operations in DOCUMENT["paths"].values():
    for _operation in _operations.values():
        _operation["tags"] = ["Statistics"]
