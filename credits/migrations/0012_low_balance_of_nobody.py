from django.db import migrations

# With a mark of 0 nobody is told, whoever falls into debt. Marks do not fit an integer when they are micro-credits.
TELL = """
CREATE OR REPLACE FUNCTION credits_tell_low_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mark bigint := 1000000 * COALESCE((SELECT below FROM credits_lowbalance), 500)::bigint;
BEGIN
    IF mark > 0 AND OLD.balance >= mark AND NEW.balance < mark THEN
        INSERT INTO notifications_notification (id, user_id, kind, key, data)
        VALUES (
            gen_random_uuid(), NEW.user_id, 'LOW_BALANCE',
            format('low_balance:%s:%s', NEW.user_id, credits_episode(NEW.user_id)),
            jsonb_build_object('balance', NEW.balance, 'below', mark)
        ) ON CONFLICT (key) DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
"""
TELL_AS_BEFORE = """
CREATE OR REPLACE FUNCTION credits_tell_low_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    mark bigint := 1000000 * COALESCE((SELECT below FROM credits_lowbalance), 500);
BEGIN
    IF OLD.balance >= mark AND NEW.balance < mark THEN
        INSERT INTO notifications_notification (id, user_id, kind, key, data)
        VALUES (
            gen_random_uuid(), NEW.user_id, 'LOW_BALANCE',
            format('low_balance:%s:%s', NEW.user_id, credits_episode(NEW.user_id)),
            jsonb_build_object('balance', NEW.balance, 'below', mark)
        ) ON CONFLICT (key) DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
"""


class Migration(migrations.Migration):
    """Replaced at once, without a lock on the accounts."""

    dependencies = [
        ("credits", "0011_ledger_audits"),
    ]

    operations = [
        migrations.RunSQL(TELL, TELL_AS_BEFORE),
    ]
