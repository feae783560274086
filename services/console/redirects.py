"""Addresses of this site that a form or a link leads back to."""

from flask import url_for


def local_path(to: str) -> str:
    """The page that was asked for before, as long as it is one of this site."""
    # a browser reads a backslash as a slash, and skips a tab: with either, what follows may name another site
    is_ours = to.startswith("/") and not to.startswith("//") and not set(to) & set("\t\\")
    return to if is_ours else url_for("console.show_overview")
