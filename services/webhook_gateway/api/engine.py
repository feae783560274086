"""The database of the routes that ask for a token."""

from flask import current_app
from sqlalchemy import Engine


def school_engine() -> Engine:
    """The engine of the current application."""
    found: Engine = current_app.extensions["engine"]
    return found
