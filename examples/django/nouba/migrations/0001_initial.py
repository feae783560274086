"""The table of events that were handled."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="NoubaEvent",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("type", models.TextField()),
                ("handled_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "nouba_events",
            },
        ),
    ]
