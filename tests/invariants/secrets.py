"""Whether anything secret is written down where runs keep what they know."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from django.conf import settings
from django.db import connection

from integrations.models import Webhook

_OF_RUNS = (
    ("id", "executions_graphexecution"),
    *(
        ("run_id", table)
        for table in (
            "executions_nodeexecution",
            "executions_nodeoutput",
            "executions_event",
            "executions_review",
            "executions_nodetask",
        )
    ),
)
_OF_RUN = "SELECT {key}, t FROM {table} t WHERE {key} = ANY(%(ids)s)"
_BEHIND = (
    "SELECT p.task_id, p FROM executions_nodetaskpart p JOIN executions_nodetask t ON t.id = p.task_id"
    " WHERE t.run_id = ANY(%(ids)s)",
    "SELECT u.run_id, b FROM executions_blob b JOIN executions_blobuse u ON u.user_id = b.user_id AND u.hash = b.hash"
    " WHERE u.run_id = ANY(%(ids)s)",
)
# Bytes show as hexadecimal.
_LEAKS = """
SELECT DISTINCT owner, pg_typeof(line)::text FROM ({rows}) AS found(owner, line)
WHERE line::text LIKE ANY(%(texts)s)
"""


def leaks(run_ids: list[UUID], secret_texts: Iterable[str]) -> Iterator[str]:
    """I15: none of these texts is in a row of these runs. They have no quotes, backslashes, or characters of LIKE."""
    texts = [f"%{form}%" for text in secret_texts for form in (text, text.encode().hex())]
    if not texts:
        return
    with connection.cursor() as cursor:
        for query in (*(_OF_RUN.format(key=key, table=table) for key, table in _OF_RUNS), *_BEHIND):
            cursor.execute(_LEAKS.format(rows=query), {"ids": run_ids, "texts": texts})
            for owner, kind in cursor.fetchall():
                yield f"{owner}: a secret is written down in {kind}"


def known() -> list[str]:
    """The secrets of this installation that no run has any business with."""
    return [settings.SECRET_KEY, settings.JWT_SIGNING_KEY, *Webhook.objects.values_list("secret", flat=True)]
