from django.db import migrations

# Drivers commit on connections of their own, in statements that need not know of it.
TELL = """
CREATE FUNCTION executions_tell_missing_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notifications_notification (id, user_id, kind, key, data)
    VALUES (
        gen_random_uuid(), NEW.user_id, 'ZERO_BALANCE',
        format('zero_balance:%s:%s:%s', NEW.user_id, NEW.graph_id, credits_episode(NEW.user_id)),
        jsonb_build_object('run_id', NEW.id, 'graph_id', NEW.graph_id, 'needed', NEW.needs_credits)
    ) ON CONFLICT (key) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER missing_credits_are_told AFTER UPDATE OF needs_credits ON executions_graphexecution
    FOR EACH ROW WHEN (NEW.needs_credits IS NOT NULL AND OLD.needs_credits IS NULL)
    EXECUTE FUNCTION executions_tell_missing_credits();
"""
TELL_NO_MORE = """
DROP TRIGGER missing_credits_are_told ON executions_graphexecution;
DROP FUNCTION executions_tell_missing_credits();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("executions", "0015_metering"),
        ("credits", "0005_low_balance_steps"),
        ("notifications", "0001_initial"),
    ]

    operations = [migrations.RunSQL(TELL, TELL_NO_MORE)]
