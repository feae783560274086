"""A day's document is answered before Flask, and Flask's own answer to the same question is the same."""

import socket
import time
from pathlib import Path

import httpx
import pytest

from tests.stats.api.conftest import LAST, Library
from tests.stats.api.processes import PLAIN, ZIPPED, RunningApi


@pytest.mark.parametrize("path", ["/api/stats/latest", f"/api/stats/{LAST}"])
@pytest.mark.parametrize("coding", [PLAIN, ZIPPED, {"Accept-Encoding": "br, GZIP"}, {"Accept-Encoding": ""}])
@pytest.mark.parametrize("held", [None, '"{}"', '"{}-gzip"', "*", '"other"'])
def test_both_ways_give_the_same_answer(library: Library, path: str, coding: dict[str, str], held: str | None) -> None:
    headers = {**coding, **({} if held is None else {"If-None-Match": held.format(library.etags[LAST])})}

    hot = library.client.get(path, headers=headers)
    # with a query, Flask answers
    through_flask = library.client.get(path + "?compare=0", headers=headers)

    assert (hot.status_code, hot.content) == (through_flask.status_code, through_flask.content)
    assert _lasting(hot) == _lasting(through_flask)


def _lasting(answer: httpx.Response) -> dict[str, str]:
    # the second may change between the two answers
    return {name: value for name, value in answer.headers.items() if name != "date"}


def test_a_sender_that_drips_its_request_is_cut_off(database_url: str, tmp_path: Path) -> None:
    api = RunningApi(tmp_path / "api.log", database_url)
    try:
        port = int(api.url.rpartition(":")[2])
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.settimeout(0.5)
            answer = None
            while answer is None and time.monotonic() - began < 20:
                try:
                    sender.sendall(b"G" if time.monotonic() - began < 0.1 else b"E")
                    answer = sender.recv(100)
                except TimeoutError:
                    continue
                except OSError:
                    answer = b""
        assert 9 < time.monotonic() - began < 13
    finally:
        api.stop()
