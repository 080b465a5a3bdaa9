from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # The index of a live table is made without locking it.
    atomic = False

    dependencies = [
        ("executions", "0010_places_and_versions"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="graphexecution",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)), fields=["parent"], name="runs_of_a_parent"
            ),
        ),
    ]
