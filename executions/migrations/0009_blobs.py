import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("executions", "0008_node_tasks"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="nodeexecution",
            name="input_blobs",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="nodeoutput",
            name="blob",
            field=models.CharField(blank=True, max_length=64, null=True),
        ),
        migrations.CreateModel(
            name="Blob",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hash", models.CharField(max_length=64)),
                ("size", models.PositiveIntegerField()),
                ("encoded", models.BinaryField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("touched_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("user", "hash"), name="one_blob_per_value_of_a_user")
                ],
            },
        ),
        migrations.CreateModel(
            name="BlobUse",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "run_id", "hash", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("user_id", models.UUIDField()),
                ("hash", models.CharField(max_length=64)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="blobs",
                        to="executions.graphexecution",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["user_id", "hash"], name="uses_of_a_blob")],
            },
        ),
    ]
