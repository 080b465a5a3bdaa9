from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('executions', '0023_measured_quantities'),
    ]

    operations = [
        migrations.AddField(
            model_name='graphexecution',
            name='is_over_debt',
            field=models.BooleanField(db_default=False),
        ),
    ]
