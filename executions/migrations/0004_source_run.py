from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('executions', '0003_names'),
    ]

    operations = [
        migrations.AddField(
            model_name='graphexecution',
            name='source_run_id',
            field=models.UUIDField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='graphexecution',
            name='source_node_id',
            field=models.UUIDField(blank=True, null=True),
        ),
    ]
