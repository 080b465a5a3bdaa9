from django.db import migrations

# Volatile, so that it sees what was committed while its caller waited for the account.
ON_HOLD = """
CREATE FUNCTION credits_on_hold(of_user uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT COALESCE(sum(amount + pool), 0) FROM credits_hold WHERE user_id = of_user AND released_at IS NULL);
END
$$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ("credits", "0013_prices_match_pins_by_name"),
    ]

    operations = [
        migrations.RunSQL(ON_HOLD, "DROP FUNCTION credits_on_hold(uuid)"),
    ]
