"""What the page of an OpenAPI document is asked, whichever API serves it."""

import re

import httpx

from shared import api_reference

_ADDRESS = re.compile(r"""(?:src|href)\s*=\s*["']?\s*([^"'\s>]*)""", re.IGNORECASE)


def assert_loads_its_own_files(client: httpx.Client) -> None:
    """The page and our files name no other site, its policy allows none, and each of its files is there."""
    page = client.get("/docs")
    assert client.get("/docs/").status_code == 404, "its relative links lead nowhere from there"
    assert page.headers["Content-Security-Policy"] == api_reference.POLICY
    assert "unsafe" not in api_reference.POLICY
    assert set(_ADDRESS.findall(page.text)) == {
        *(f"docs/{name}" for name in api_reference.FILES),
        "openapi.json",
        "data:,",
    }
    assert not re.search(r"<style|style=|<script>", page.text)
    # from there the page's links would lead nowhere
    assert client.get("/docs/").status_code == 404
    for name, media_type in api_reference.FILES.items():
        found = client.get(f"/docs/{name}")
        assert found.status_code == 200
        assert found.headers["Content-Type"].partition(";")[0] == media_type
        assert found.content == (api_reference.FOLDER / name).read_bytes()
        tag = {"If-None-Match": found.headers["ETag"]}
        assert client.get(f"/docs/{name}", headers=tag).status_code == 304
        if name.startswith("reference."):
            assert not re.search(r"(?:[a-z]+:)?//[a-z]|@import", found.text)
