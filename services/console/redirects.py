"""Addresses of this site that a form or a link leads back to."""

from urllib.parse import urlsplit

from flask import url_for


def local_path(to: str) -> str:
    """The page that was asked for before, as long as it is one of this site."""
    parts = urlsplit(to)
    is_ours = to.startswith("/") and not to.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return to if is_ours else url_for("console.show_overview")
