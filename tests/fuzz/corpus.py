"""The corpus: odd texts, and raw HTTP requests made of them. The same on every run."""

import json
from collections.abc import Iterator

#: Bytes of a field: control characters, surrogates, overlong and broken UTF-8, marks of direction, injections.
TEXTS: tuple[bytes, ...] = (
    b"",
    b"\x00",
    b"a\x00b",
    b"\r\nSet-Cookie: a=b",
    b"a\nb",
    b"a\rb",
    b"\x1b[2J\x07",
    b"\x7f",
    b"\x80\xff\xfe",
    b"\xed\xa0\x80",
    b"\xed\xb0\x80\xed\xa0\x80",
    b"\xc0\xaf\xc0\xae",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbfa",
    "\u202egnp.exe\u202c".encode(),
    "\u2066\u200f\u200b\u2028".encode(),
    "\u2067\u0634\u0631\u062d\u2069\u2069 100".encode(),
    "\u200f\u0634\u0631\u062d (2)\u200e".encode(),
    "\U0001f469\u200d\U0001f3eb".encode(),
    "e\u0301\u0327".encode() * 50,
    "\U0001f4b8".encode() * 20,
    b"%00%0d%0a%",
    b"%c0%af%ed%a0%80",
    b"../../../../etc/passwd",
    b"//[x",
    b"/\t\\e",
    b"..\\..\\windows",
    b"' OR '1'='1' --",
    b'"; DROP TABLE payments; --',
    b"{{7*7}}${7*7}<%= 7*7 %>",
    b"<script>alert(1)</script>",
    b"%s%n%x {0} {}",
    b"-1",
    b"0",
    b"9223372036854775808",
    b"1e309",
    b"NaN",
    b"0x10",
    "\u0661\u0662\u0663".encode(),
    b"A" * 5000,
    b"a=b;c=d&e=f#g?h",
    b"null",
    b"__proto__",
)
#: JSON that a parser may choke on.
DOCUMENTS: tuple[bytes, ...] = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"a"',
    b"1e400",
    b"{}{}",
    b"\xef\xbb\xbf{}",
    b"[" * 20_000,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b'{"event_id":"a","event_id":"b"}',
    b'{"amount":NaN,"status":"completed"}',
    b'{"transaction_id":"\\ud800","amount":1,"currency":"DZD","status":"completed","user_id":1}',
    b'{"transaction_id":"\\u0000","amount":1,"currency":"DZD","status":"completed","user_id":1}',
    b'{"transaction_id":"a","amount":1e99,"currency":"DZD","status":"completed","user_id":1}',
    b'{"transaction_id":"a","amount":-1,"currency":"\\u202e","status":"completed","user_id":-1}',
    b'{"amount":' + b"9" * 5000 + b"}",
    b"\x00" * 100,
    b"\xff" * 100,
)


def field_documents(fields: dict[str, object]) -> Iterator[bytes]:
    """The JSON document `fields` with each field in turn replaced by every odd text and by other kinds of values."""
    others: tuple[object, ...] = (None, True, [], {}, [[[]]], {"a": {"b": {}}}, -1, 2**70, 1.5, "")
    for name in fields:
        for text in TEXTS:
            yield json.dumps({**fields, name: _decoded(text)}).encode()
        for other in others:
            yield json.dumps({**fields, name: other}).encode()


def _decoded(text: bytes) -> str:
    try:
        # lone surrogates are written as escapes by json
        return text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def request(method: bytes, target: bytes, *headers: bytes, body: bytes = b"", length: bool = True) -> bytes:
    """A raw request, on a connection of its own."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: gateway", b"Connection: close", *headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


def broken_http() -> Iterator[bytes]:
    """What is hardly HTTP."""
    yield from (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X-A: b\r\n" * 2000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX-A: " + b"b" * 70_000 + b"\r\n\r\n",
    )
    for length in (b"-1", b"1e3", b"0x10", b"99999999999999999999", b"1, 2", b"\x00", b"+5", b" ", b"5\x0b"):
        yield (
            b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
            + length
            + b"\r\n\r\nhello"
        )
    for lines in (
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding:\x0bchunked",
    ):
        yield (
            b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            + lines
            + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
    for chunk in (
        b"zz\r\n",
        b"-1\r\n",
        b"FFFFFFFFFFFFFFFF\r\n",
        b"5;" + b"a" * 9000 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
    ):
        yield (
            b"POST /webhooks/generic HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            + chunk
        )
