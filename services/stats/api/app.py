"""Builds the WSGI application of the statistics API."""

from flask import Flask

from services.stats.api.auth import ReadAccess
from services.stats.api.cache_refresher import CacheRefresher
from services.stats.api.dashboard.render import Policy
from services.stats.api.fast_path import FastPath
from services.stats.api.routes import Reading, stats
from services.stats.api.settings import ApiSettings
from services.stats.rows.reader import RowReader
from shared.runtime.api_tokens import TokenVerifier
from shared.runtime.client_address import client_address
from shared.runtime.hsts import with_hsts
from shared.runtime.visible_text import finalize


def create_app(settings: ApiSettings, watch: CacheRefresher, row_reader: RowReader) -> Flask:
    """The WSGI application; `watch` has been started."""
    app = Flask(__package__ or "stats", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.json.compact = True  # type: ignore[attr-defined]
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.finalize = finalize
    access = ReadAccess(
        TokenVerifier(settings.required_tokens()), settings.allowed_hosts(), client_address(settings.stats_proxies)
    )
    policy = Policy(settings.stats_grace_days, settings.stats_closing_day)
    app.extensions["reading"] = Reading(watch, access, settings.zone, settings.stats_ready_hours, row_reader, policy)
    app.register_blueprint(stats)
    app.wsgi_app = FastPath(app.wsgi_app, watch, access)  # type: ignore[method-assign]
    app.wsgi_app = with_hsts(app.wsgi_app, settings.https)  # type: ignore[method-assign]
    return app
