"""The file server of lessons: verifies the signed path, then streams the file from S3.

A plain WSGI application: one form of path, GET and HEAD, and POST for the reports of players. It answers the same to a
player behind nginx or a CDN.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import structlog

from services.playback.errors import InvalidRangeError, StorageUnavailableError, UnknownFileError
from services.playback.metrics import BYTES, REQUESTS
from services.playback.postgres_keys import Keys
from services.playback.s3_files import File, Files
from services.playback.views import TooFastError, ViewRecorder
from services.playback.watch_report_parser import MAX_BODY_BYTES, InvalidReportError, parse_report
from shared.runtime import playback_links
from shared.runtime.bounded_decompression import ContentCodingError, unzipped
from shared.runtime.health import healthy
from shared.runtime.playback_links import Grant, PlaybackPath

CONTENT_TYPES = {
    "m3u8": "application/vnd.apple.mpegurl",
    "m4s": "video/iso.segment",
    "mp4": "video/mp4",
    "jpg": "image/jpeg",
    "vtt": "text/vtt; charset=utf-8",
    "json": "application/json",
    "mpd": "application/dash+xml",
    "key": "application/octet-stream",
}
#: Kept compressed in S3; sent so to players that accept it.
TEXTS = ("m3u8", "vtt", "json", "mpd")
#: A text is held in memory; captions and playlists of a day's film have a few megabytes.
MAX_TEXT_BYTES = 32 * 1024 * 1024
RETRY_AFTER_SECONDS = 2
BLOCK_BYTES = 128 * 1024

#: An address is a capability, so any page may use it; no cookie is ever sent along.
CORS = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Content-Length, Content-Range, ETag"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("Timing-Allow-Origin", "*"),
    ("X-Content-Type-Options", "nosniff"),
]
_PREFLIGHT = [
    ("Access-Control-Allow-Methods", "GET, HEAD, POST"),
    ("Access-Control-Allow-Headers", "Range, If-None-Match, Content-Type"),
    ("Access-Control-Max-Age", "86400"),
    ("Content-Length", "0"),
]
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")
#: Where players report what they played: beside a master playlist.
_REPORT_FILE = "watched.json"
#: The same of a preview, which may be shorter than its lesson: it has none of the lesson's parts.
_PREVIEW_REPORT_FILE = "first/watched.json"
_KEY_FILE = re.compile(r"(?:.*/)?([0-9a-f]{32})\.key")

Headers = list[tuple[str, str]]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `outcome` is its name in the metrics."""

    status: HTTPStatus
    headers: Headers
    body: Iterable[bytes]
    outcome: str

    def close(self) -> None:
        """Give the body up unread."""
        if isinstance(self.body, Stream):
            self.body.close()


class Stream:
    """The body of an answer, block by block as S3 sends it. The server closes it, read or not."""

    def __init__(self, file: File) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        for block in self._file.body.iter_chunks(BLOCK_BYTES):
            BYTES.inc(len(block))
            yield block

    def close(self) -> None:
        self._file.body.close()


class PlaybackApp:
    """The WSGI application. `client_of` finds a viewer's IP address."""

    def __init__(
        self,
        secrets: Sequence[bytes],
        files: Files,
        keys: Keys,
        recorder: ViewRecorder,
        client_of: Callable[[dict[str, Any]], str],
    ) -> None:
        self._secrets, self._files, self._keys = secrets, files, keys
        self._recorder, self._client_of = recorder, client_of

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answer = self._answer(environ)
        REQUESTS.labels(answer.outcome).inc()
        start_response(f"{answer.status.value} {answer.status.phrase}", answer.headers)
        if environ["REQUEST_METHOD"] == "HEAD":
            answer.close()
            return []
        return answer.body

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/healthz":
            body, status, headers = healthy()
            return _json(HTTPStatus(status), body, "health", *headers.items())
        if path == "/readyz":
            return self._readiness()
        if method == "OPTIONS":
            return Answer(HTTPStatus.NO_CONTENT, [*CORS, *_PREFLIGHT], [], "preflight")
        if method not in ("GET", "HEAD", "POST"):
            return _method_not_allowed()
        try:
            wanted = playback_links.parse_path(path)
            now = time.time()
            grant = playback_links.verify(wanted, self._secrets, now, self._client_of(environ))
            if method == "POST":
                return self._report(wanted, grant, environ)
            return self._serve(wanted, grant, now, environ)
        except (playback_links.MalformedPathError, UnknownFileError) as error:
            return _problem(HTTPStatus.NOT_FOUND, str(error), "missing")
        except playback_links.ExpiredGrantError as error:
            return _problem(HTTPStatus.FORBIDDEN, str(error), "expired")
        except playback_links.ForgedGrantError as error:
            return _problem(HTTPStatus.FORBIDDEN, str(error), "refused")
        except InvalidReportError as error:
            return _problem(HTTPStatus.BAD_REQUEST, str(error), "refused")
        except TooFastError as error:
            return _problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), "refused", ("Retry-After", "60"))
        except InvalidRangeError as error:
            whole = ("Content-Range", f"bytes */{error.size_bytes}")
            return _problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, str(error), "refused", whole)
        except StorageUnavailableError as error:
            log.error("a lesson cannot be served", fault=str(error))
            later = ("Retry-After", str(RETRY_AFTER_SECONDS))
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "The lesson cannot be read now.", "unavailable", later)

    def _serve(self, path: PlaybackPath, grant: Grant, now: float, environ: dict[str, Any]) -> Answer:
        ending = path.file.rpartition(".")[2]
        if ending == "key":
            return self._key(path)
        headers = [
            ("Content-Type", CONTENT_TYPES[ending]),
            # an object never changes, but nobody may keep it for longer than the viewer may watch
            ("Cache-Control", f"private, max-age={int(grant.expires - now)}, immutable"),
            *CORS,
        ]
        if ending in TEXTS:
            return self._text(path, headers, environ)
        asked = environ.get("HTTP_RANGE", "")
        # one range is served; several at once, or one of another version, are answered with the whole file
        is_plain = _ONE_RANGE.fullmatch(asked) and "HTTP_IF_RANGE" not in environ
        file = self._files.open(path.object_key, asked if is_plain else None)
        headers += [("ETag", file.etag), ("Accept-Ranges", "bytes")]
        if _matches(environ, file.etag):
            file.body.close()
            return Answer(HTTPStatus.NOT_MODIFIED, headers, [], "served")
        headers.append(("Content-Length", str(file.size_bytes)))
        if file.content_range:
            headers.append(("Content-Range", file.content_range))
        status = HTTPStatus.PARTIAL_CONTENT if file.content_range else HTTPStatus.OK
        return Answer(status, headers, Stream(file), "served")

    def _text(self, path: PlaybackPath, headers: Headers, environ: dict[str, Any]) -> Answer:
        file = self._files.open(path.object_key, None)
        headers += [("ETag", f"W/{file.etag.removeprefix('W/')}"), ("Vary", "Accept-Encoding")]
        if _matches(environ, file.etag):
            file.body.close()
            return Answer(HTTPStatus.NOT_MODIFIED, headers, [], "served")
        with closing(Stream(file)) as stream:
            if file.size_bytes > MAX_TEXT_BYTES:
                raise StorageUnavailableError(f"{path.object_key} has {file.size_bytes} bytes, too many for a text")
            body = b"".join(stream)
        if file.encoding == "gzip":
            if accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")):
                headers.append(("Content-Encoding", "gzip"))
            else:
                body = _unzipped(path, body)
        headers.append(("Content-Length", str(len(body))))
        return Answer(HTTPStatus.OK, headers, [body], "served")

    def _report(self, path: PlaybackPath, grant: Grant, environ: dict[str, Any]) -> Answer:
        if path.file not in (_REPORT_FILE, _PREVIEW_REPORT_FILE):
            return _method_not_allowed()
        # a body without a length is none of a browser's
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise InvalidReportError(f"A report has at most {MAX_BODY_BYTES} bytes")
        report = parse_report(environ["wsgi.input"].read(int(length)))
        if path.file == _PREVIEW_REPORT_FILE:
            report = replace(report, parts=0)
        if not grant.viewer.startswith(playback_links.CONSOLE_VIEWER):
            self._recorder.record(grant.viewer, path.course_id, report)
        return Answer(HTTPStatus.NO_CONTENT, [("Cache-Control", "no-store"), *CORS], [], "report")

    def _key(self, path: PlaybackPath) -> Answer:
        named = _KEY_FILE.fullmatch(path.file)
        if named is None:
            raise UnknownFileError
        secret = self._keys.secret(path.course_id, named[1])
        headers = [
            ("Content-Type", CONTENT_TYPES["key"]),
            ("Cache-Control", "private, no-store"),
            ("Content-Length", str(len(secret))),
            *CORS,
        ]
        return Answer(HTTPStatus.OK, headers, [secret], "key")

    def _readiness(self) -> Answer:
        found = {"storage": self._files.answers(), "database": self._keys.answers()}
        ready = all(found.values())
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(status, {"status": "ready" if ready else "not ready", **found}, "health")


def accepts_gzip(header: str) -> bool:
    """Whether a header `Accept-Encoding` lets gzip through."""
    offered = {}
    for part in header.split(","):
        name, _, weight = part.partition(";")
        offered[name.strip().lower()] = re.fullmatch(r"\s*q=0(?:\.0*)?\s*", weight) is None
    return offered.get("gzip", offered.get("*", False))


def _unzipped(path: PlaybackPath, body: bytes) -> bytes:
    try:
        return unzipped(body, MAX_TEXT_BYTES)
    except ContentCodingError as error:
        raise StorageUnavailableError(f"{path.object_key} cannot be unpacked: {error}") from None


def _method_not_allowed() -> Answer:
    return _problem(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Use GET or HEAD, and POST for watched.json.",
        "refused",
        ("Allow", "GET, HEAD, POST, OPTIONS"),
    )


def _matches(environ: dict[str, Any], etag: str) -> bool:
    given = environ.get("HTTP_IF_NONE_MATCH", "")
    return any(part.strip().removeprefix("W/") == etag.removeprefix("W/") for part in given.split(",") if part.strip())


def _problem(status: HTTPStatus, detail: str, outcome: str, *more: tuple[str, str]) -> Answer:
    """A problem as RFC 9457 has it."""
    body = json.dumps(
        {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    ).encode()
    headers = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *CORS,
        *more,
    ]
    return Answer(status, headers, [body], outcome)


def _json(status: HTTPStatus, value: dict[str, Any], outcome: str, *more: tuple[str, str]) -> Answer:
    body = json.dumps(value).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *more]
    return Answer(status, headers, [body], outcome)
