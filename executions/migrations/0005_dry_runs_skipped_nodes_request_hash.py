from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('executions', '0004_source_run'),
    ]

    operations = [
        migrations.AddField(
            model_name='graphexecution',
            name='is_dry_run',
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddField(
            model_name='graphexecution',
            name='nodes_to_skip',
            field=models.JSONField(db_default=[]),
        ),
        migrations.AddField(
            model_name='graphexecution',
            name='request_hash',
            field=models.CharField(blank=True, db_default='', max_length=64),
        ),
    ]
