"""What the school remembers of Nouba's events."""

from django.db import models


class NoubaEvent(models.Model):
    """An event that was handled; its id makes a repetition a conflict."""

    id = models.TextField(primary_key=True)
    type = models.TextField()
    handled_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "nouba_events"
