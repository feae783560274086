"""Gives the API's routes the SQLAlchemy engine of the current Flask application."""

from flask import current_app
from sqlalchemy import Engine


def school_engine() -> Engine:
    """The engine of the current application."""
    found: Engine = current_app.extensions["engine"]
    return found
