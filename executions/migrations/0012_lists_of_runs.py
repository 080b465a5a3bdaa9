from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # The indexes of a live table are made without locking it, and the old ones serve until then.
    atomic = False

    dependencies = [
        ("executions", "0011_runs_of_a_parent"),
    ]

    operations = [
        AddIndexConcurrently(
            model_name="graphexecution",
            index=models.Index(fields=["user", "is_deleted", "-created_at", "-id"], name="list_of_a_user"),
        ),
        AddIndexConcurrently(
            model_name="graphexecution",
            index=models.Index(fields=["graph", "user", "is_deleted", "-created_at", "-id"], name="list_of_a_graph"),
        ),
        RemoveIndexConcurrently(model_name="graphexecution", name="runs_of_a_user"),
        RemoveIndexConcurrently(model_name="graphexecution", name="runs_of_a_graph"),
    ]
