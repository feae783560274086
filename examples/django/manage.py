"""A school's back end on Django: checkouts, uploads, lessons, and the events that Nouba sends.

pip install django httpx standardwebhooks
export NOUBA_URL=... NOUBA_TOKEN=... NOUBA_EVENTS_SECRET=whsec_...  # examples/README.md prints them
python examples/django/manage.py migrate && python examples/django/manage.py runserver 3000
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "school.settings")
    execute_from_command_line(sys.argv)
