"""The page of an OpenAPI document for people, by Swagger UI, which the gateway and the statistics API serve.

`reference.js` and `reference.css` are ours. `swagger-ui-bundle.js` and `swagger-ui.css` are those of the npm package
swagger-ui-dist 5.35.0, unchanged, so that the page loads nothing of another site; a test compares their hashes. The
licences of the package and of what it bundles are beside them.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
#: What the page at `/docs` loads from below that address, with the media type of each.
FILES: Final[Mapping[str, str]] = {
    "reference.css": "text/css",
    "reference.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
#: The page's Content-Security-Policy. The style sheet's pictures are `data:`.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title}</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css"><link rel="stylesheet" href="docs/reference.css">
<script src="docs/swagger-ui-bundle.js" defer></script><script src="docs/reference.js" defer></script>
</head><body><div id="reference"></div><noscript>This page needs JavaScript. <a href="openapi.json">openapi.json</a> is
the same for programs.</noscript></body></html>
"""


def write_page(title: str) -> str:
    """The page at `/docs`; its files are at `docs/<name>`, and the document at `openapi.json`."""
    return _PAGE.format(title=escape(title))
