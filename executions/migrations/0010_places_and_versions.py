import django.db.models.functions.comparison
from django.db import migrations, models

# The lock holds until the claim commits, and the count has a snapshot of its own, taken after it: no two claims of a
# user count the same runs.
HAS_PLACE = """
CREATE FUNCTION executions_has_place(of_user uuid, of_graph uuid, per_user int, per_graph int) RETURNS boolean
LANGUAGE plpgsql VOLATILE COST 10000 AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(uuid_hash_extended(of_user, 1));
    RETURN (
        SELECT count(*) < per_user AND count(*) FILTER (WHERE graph_id = of_graph) < per_graph
        FROM executions_graphexecution WHERE user_id = of_user AND status = 'RUNNING');
END
$$
"""


class Migration(migrations.Migration):

    dependencies = [
        ("executions", "0009_blobs"),
    ]

    operations = [
        migrations.AddField(
            model_name="graphexecution",
            name="needs_engine",
            field=models.PositiveSmallIntegerField(db_default=1),
        ),
        migrations.AddField(
            model_name="graphexecution",
            name="left_since",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RemoveIndex(
            model_name="graphexecution",
            name="runs_to_sweep",
        ),
        migrations.AddIndex(
            model_name="graphexecution",
            index=models.Index(
                models.F("user"),
                models.F("graph"),
                django.db.models.functions.comparison.Coalesce("root_id", "id"),
                models.F("id"),
                condition=models.Q(("status", "QUEUED")),
                name="runs_queued",
            ),
        ),
        migrations.AddIndex(
            model_name="graphexecution",
            index=models.Index(
                condition=models.Q(("status", "RUNNING")), fields=["user", "graph"], name="runs_under_way"
            ),
        ),
        migrations.AddIndex(
            model_name="graphexecution",
            index=models.Index(
                condition=models.Q(("status__in", ["REVIEW", "WAITING"])), fields=["wake_at"], name="runs_parked"
            ),
        ),
        migrations.AddIndex(
            model_name="graphexecution",
            index=models.Index(
                condition=models.Q(
                    ("cancel_requested_at", None),
                    ("parent__isnull", False),
                    ("status__in", ["QUEUED", "REVIEW", "RUNNING", "WAITING"]),
                ),
                fields=["parent"],
                name="children_not_ended",
            ),
        ),
        migrations.RunSQL(HAS_PLACE, "DROP FUNCTION executions_has_place(uuid, uuid, int, int)"),
    ]
