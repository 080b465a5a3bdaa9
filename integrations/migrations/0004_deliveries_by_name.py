from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("integrations", "0003_addresses_that_cannot_be_guessed")]

    operations = [
        migrations.AlterModelOptions(name="delivery", options={"verbose_name_plural": "deliveries"}),
    ]
