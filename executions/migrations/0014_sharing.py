from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, ValidateConstraint
from django.db import migrations, models


class Migration(migrations.Migration):
    # The index of a live table is made, and its rows are checked, without locking it.
    atomic = False

    dependencies = [
        ("executions", "0013_schedules"),
    ]

    operations = [
        migrations.AddField("graphexecution", "share_nonce", models.UUIDField(blank=True, null=True)),
        migrations.AddField("graphexecution", "share_digest", models.CharField(blank=True, max_length=64, null=True)),
        migrations.AddField("graphexecution", "shared_at", models.DateTimeField(blank=True, null=True)),
        AddConstraintNotValid(
            "graphexecution",
            models.CheckConstraint(
                condition=models.Q(share_nonce=None, share_digest__isnull=True, shared_at=None)
                | models.Q(share_nonce__isnull=False, share_digest__isnull=False, shared_at__isnull=False),
                name="shared_runs_have_a_link",
            ),
        ),
        ValidateConstraint("graphexecution", name="shared_runs_have_a_link"),
        AddIndexConcurrently(
            "graphexecution",
            models.Index(
                fields=["share_digest"], name="shared_runs", condition=models.Q(share_digest__isnull=False)
            ),
        ),
    ]
