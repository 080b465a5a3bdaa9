from django.db import migrations, models

# What ended tasks gave that no run has taken up yet. A pair without a pin says how many tokens were used.
_KEEP = """
WITH given AS (
    SELECT t.id, count(*) FILTER (WHERE o.pair ->> 0 IS NOT NULL) AS count,
        jsonb_agg(o.pair ORDER BY o.place) FILTER (WHERE o.pair ->> 0 IS NOT NULL) AS outputs,
        COALESCE(sum((o.pair ->> 1)::bigint) FILTER (WHERE o.pair ->> 0 IS NULL), 0) AS tokens
    FROM executions_nodetask t, jsonb_array_elements(t.outputs) WITH ORDINALITY AS o(pair, place)
    WHERE t.ended_at IS NOT NULL GROUP BY t.id
), told AS (
    UPDATE executions_nodetask t SET output_count = given.count, used_tokens = given.tokens
    FROM given WHERE given.id = t.id
)
INSERT INTO executions_nodetaskpart (task_id, first, count, outputs)
SELECT id, 0, count, convert_to(outputs::text, 'UTF8') FROM given WHERE count > 0
"""


class Migration(migrations.Migration):
    dependencies = [("executions", "0020_engine_3")]

    operations = [
        migrations.AddField(
            model_name="nodetask",
            name="output_count",
            field=models.PositiveIntegerField(db_default=0),
        ),
        migrations.AddField(
            model_name="nodetask",
            name="used_tokens",
            field=models.PositiveBigIntegerField(db_default=0),
        ),
        migrations.CreateModel(
            name="NodeTaskPart",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("first", models.PositiveIntegerField()),
                ("count", models.PositiveIntegerField()),
                ("outputs", models.BinaryField()),
                (
                    "task",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.CASCADE,
                        related_name="parts",
                        to="executions.nodetask",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("task", "first"), name="each_output_of_a_task_in_one_part")
                ],
            },
        ),
        migrations.RunSQL(_KEEP, migrations.RunSQL.noop),
        migrations.RemoveField(model_name="nodetask", name="outputs"),
    ]
