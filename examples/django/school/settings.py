"""The least that runs the app `nouba`. Your project has these already: add the app and its URLs."""

import os
import secrets

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or secrets.token_hex()
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
INSTALLED_APPS = ["nouba"]
# no session here that a forged form could use: your project has one, and the middleware of CSRF with it
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
ROOT_URLCONF = "nouba.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SCHOOL_DATABASE", "school.sqlite3"),
        # a transaction takes its lock when it begins: two at once wait for each other
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING = {
    "version": 1,
    # runserver's own lines too
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"nouba": {"handlers": ["console"], "level": "INFO"}},
}

NOUBA_URL = os.environ.get("NOUBA_URL", "")
NOUBA_TOKEN = os.environ.get("NOUBA_TOKEN", "")
NOUBA_EVENTS_SECRET = os.environ.get("NOUBA_EVENTS_SECRET", "")
