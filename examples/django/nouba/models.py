"""One table: the events of Nouba that were handled, so that a repetition is found."""

from django.db import models


class NoubaEvent(models.Model):
    """An event that was handled; its id makes a repetition a conflict."""

    id = models.TextField(primary_key=True)
    type = models.TextField()
    handled_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nouba_events"
