"""How the database is emptied between tests that commit: as `manage.py flush` does, in a few milliseconds."""

from typing import Any

from django.apps import apps
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.models.signals import post_migrate

# Made by `migrate` from the models, and the same for every test.
_KEPT = {"auth_permission", "django_content_type"}
# To truncate a table costs as much as a hundred deletions; but what many rows leave behind would slow later tests.
_MOST_BYTES = 1 << 20

_FLUSH = """
DO $flush$
DECLARE
    tables regclass[] := (SELECT array_agg(c.oid) FROM pg_class c
                          WHERE c.relname IN ({names}) AND c.relnamespace = current_schema()::regnamespace);
    one regclass;
BEGIN
    -- Not even the ledger's triggers, which refuse everybody else.
    SET LOCAL session_replication_role = replica;
    -- Whoever still writes comes to an end first.
    EXECUTE 'LOCK TABLE ' || array_to_string(tables, ', ') || ' IN SHARE ROW EXCLUSIVE MODE';
    FOREACH one IN ARRAY tables LOOP
        IF pg_total_relation_size(one) > {most} THEN
            EXECUTE 'TRUNCATE ' || array_to_string(tables, ', ');
            RETURN;
        END IF;
    END LOOP;
    FOREACH one IN ARRAY tables LOOP
        IF pg_relation_size(one) > 0 THEN
            EXECUTE 'DELETE FROM ' || one;
        END IF;
    END LOOP;
END
$flush$
"""


def statements(operations: DatabaseOperations, style: object, tables: list[str], **options: bool) -> list[str]:
    """The SQL that empties these tables, in the place of Django's."""
    names = ", ".join(f"'{table}'" for table in sorted(set(tables) - _KEPT))
    return [_FLUSH.format(names=names, most=_MOST_BYTES)]


def restore(*_: Any, **__: Any) -> None:
    """What `migrate` records of the prices that blocks declare is recorded again."""
    config = apps.get_app_config("executions")
    post_migrate.send(sender=config, app_config=config, verbosity=0, interactive=False, using="default")
