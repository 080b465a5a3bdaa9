"""Fewer indexes to write for each run."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('executions', '0006_reviews'),
        ('graphs', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='graphexecution',
            name='one_run_per_trigger',
        ),
        migrations.AlterField(
            model_name='event',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='events', to='executions.graphexecution'),
        ),
        migrations.AlterField(
            model_name='graphexecution',
            name='graph',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='graphs.graph'),
        ),
        migrations.AlterField(
            model_name='graphexecution',
            name='parent',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='children', to='executions.graphexecution'),
        ),
        migrations.AlterField(
            model_name='graphexecution',
            name='user',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AlterField(
            model_name='nodeexecution',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='nodes', to='executions.graphexecution'),
        ),
        migrations.AlterField(
            model_name='nodeoutput',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='outputs', to='executions.graphexecution'),
        ),
        migrations.AlterField(
            model_name='token',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to='executions.graphexecution'),
        ),
        migrations.AddConstraint(
            model_name='graphexecution',
            constraint=models.UniqueConstraint(condition=models.Q(('trigger_key__isnull', False)), fields=('user', 'trigger_key'), name='one_run_per_trigger'),
        ),
        # Room beside each row for its next version: while a run is under way, that needs no entry in any index.
        migrations.RunSQL(
            "ALTER TABLE executions_graphexecution SET (fillfactor = 60)",
            "ALTER TABLE executions_graphexecution RESET (fillfactor)",
        ),
    ]
