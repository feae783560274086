"""Conditional requests, by RFC 9110: what the reader has already is not sent again."""

import pytest

from tests.stats.api.conftest import FIRST, LAST, Library
from tests.stats.api.processes import PLAIN, ZIPPED

PATHS = (
    "/api/stats/latest",
    f"/api/stats/{LAST}",
    "/api/stats/latest?compare=1",
    f"/api/stats?from={FIRST}&to={LAST}",
    "/?lang=ar",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("coding", [PLAIN, ZIPPED])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', '"a,b", W/"c" , {},"d"', "*", '"unclosed, {}'], ids=str)
def test_what_is_held_is_304_without_a_body(library: Library, path: str, coding: dict[str, str], form: str) -> None:
    whole = library.client.get(path, headers=coding)

    answer = library.client.get(path, headers={**coding, "If-None-Match": form.format(whole.headers["ETag"])})

    assert (answer.status_code, answer.content) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert answer.headers[name] == whole.headers[name]
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
def test_either_codings_tag_names_the_version_and_the_answer_bears_the_one_that_was_named(
    library: Library, path: str
) -> None:
    plain = library.client.get(path, headers=PLAIN).headers["ETag"]
    zipped = library.client.get(path, headers=ZIPPED).headers["ETag"]
    assert plain != zipped

    crossed = [
        library.client.get(path, headers={**ZIPPED, "If-None-Match": plain}),
        library.client.get(path, headers={**PLAIN, "If-None-Match": zipped}),
    ]

    assert [answer.status_code for answer in crossed] == [304, 304]
    assert [answer.headers["ETag"] for answer in crossed] == [plain, zipped]


@pytest.mark.parametrize("names", ['"0"', 'W/"0", "1"', "", "nonsense", '"*"', "{tag}x"])
def test_what_is_not_held_is_sent(library: Library, names: str) -> None:
    bare = library.etags[LAST]

    answer = library.client.get("/api/stats/latest", headers={**PLAIN, "If-None-Match": names.format(tag=bare)})

    assert answer.status_code == 200
    assert answer.json()["day"] == LAST.isoformat()


def test_a_day_that_is_not_kept_is_404_whatever_is_held(library: Library) -> None:
    assert library.client.get("/api/stats/1999-01-01", headers={"If-None-Match": "*"}).status_code == 404


def test_head_is_304_too(library: Library) -> None:
    answer = library.client.head("/api/stats/latest", headers={**PLAIN, "If-None-Match": f'"{library.etags[LAST]}"'})

    assert answer.status_code == 304
