import core.ids
import credits.kinds
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


# For each statement: TRUNCATE has no rows, and what touches none is no better.
APPEND_ONLY = """
CREATE FUNCTION credits_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Transfers are never changed or deleted: post another one that makes up for it'
        USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER transfers_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON credits_transfer
    FOR EACH STATEMENT EXECUTE FUNCTION credits_refuse_change();
"""
CHANGEABLE = """
DROP TRIGGER transfers_are_append_only ON credits_transfer;
DROP FUNCTION credits_refuse_change();
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('accounts', '0006_impersonation'),
    ]

    operations = [
        migrations.CreateModel(
            name='Account',
            fields=[
                ('user', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('balance', models.BigIntegerField(db_default=0)),
                ('floor', models.BigIntegerField(db_default=0)),
                ('refilled_on', models.DateField(blank=True, null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('balance__gte', models.F('floor'))), name='no_balance_is_below_its_floor'), models.CheckConstraint(condition=models.Q(('floor__lte', 0)), name='floors_are_at_most_zero'), models.CheckConstraint(condition=models.Q(('balance__lte', 2147483647000000), ('floor__gte', -2147483647000000)), name='balances_can_be_counted')],
            },
        ),
        migrations.CreateModel(
            name='Adjustment',
            fields=[
                ('id', models.UUIDField(default=core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('user_id', models.UUIDField()),
                ('amount', models.BigIntegerField()),
                ('reason', models.TextField()),
                ('asked_by', models.UUIDField()),
                ('asked_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('approved', models.BooleanField(blank=True, null=True)),
                ('decided_by', models.UUIDField(blank=True, null=True)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('amount', 0), _negated=True), name='adjustments_change_something'), models.CheckConstraint(condition=models.Q(models.Q(('approved', None), ('decided_by', None)), models.Q(('approved', False), ('decided_by__isnull', False)), models.Q(('approved', True), ('decided_by__isnull', False), models.Q(('decided_by', models.F('asked_by')), _negated=True)), _connector='OR'), name='adjustments_are_approved_by_another')],
            },
        ),
        migrations.CreateModel(
            name='Transfer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200, unique=True)),
                ('user_id', models.UUIDField(blank=True, null=True)),
                ('debit', models.CharField(choices=[('user', 'user'), ('issuance', 'issuance'), ('clearing', 'clearing'), ('revenue', 'revenue'), ('refunds', 'refunds')], max_length=8)),
                ('credit', models.CharField(choices=[('user', 'user'), ('issuance', 'issuance'), ('clearing', 'clearing'), ('revenue', 'revenue'), ('refunds', 'refunds')], max_length=8)),
                ('amount', models.BigIntegerField()),
                ('kind', models.CharField(choices=[('TOP_UP', 'TOP_UP'), ('USAGE', 'USAGE'), ('GRANT', 'GRANT'), ('REFUND', 'REFUND'), ('CARD_CHECK', 'CARD_CHECK')], max_length=10)),
                ('reason', models.TextField(blank=True, db_default='')),
                ('metadata', models.JSONField(db_default={})),
                ('run_id', models.UUIDField(blank=True, null=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'indexes': [models.Index(fields=['user_id', '-at', '-id'], name='transfers_of_a_user'), models.Index(condition=models.Q(('run_id__isnull', False)), fields=['run_id'], name='transfers_of_a_run')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount__gt', 0), models.Q(('amount', 0), ('kind', credits.kinds.Kind['CARD_CHECK'])), _connector='OR'), name='transfers_move_something'), models.CheckConstraint(condition=models.Q(('debit', models.F('credit')), _negated=True), name='transfers_have_two_sides'), models.CheckConstraint(condition=models.Q(models.Q(('user_id__isnull', False), models.Q(('debit', credits.kinds.Party['USER']), ('credit', credits.kinds.Party['USER']), _connector='OR')), models.Q(('user_id', None), models.Q(('debit', credits.kinds.Party['USER']), _negated=True), models.Q(('credit', credits.kinds.Party['USER']), _negated=True)), _connector='OR'), name='transfers_of_users_name_them')],
            },
        ),
        migrations.RunSQL(APPEND_ONLY, CHANGEABLE),
    ]
