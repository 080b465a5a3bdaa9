"""Large values, which rows name by their hashes: reading them, and forgetting those that no run needs.

A user's value is stored once, however many of their runs have it; what one user has is nobody else's.
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import connection

from core import json

# How many are looked at in one statement of `forget_blobs`.
PAGE = 1000

_READ = "SELECT hash, encoded FROM executions_blob WHERE user_id = %s AND hash = ANY(%s)"

# A run that stores a value touches it in the statement that says so. One that was touched after this statement began is
# locked, or found changed: it stays.
_FORGET = """
WITH page AS (
    SELECT id, user_id, hash FROM executions_blob WHERE id > %s ORDER BY id LIMIT %s
), unused AS (
    SELECT b.id FROM executions_blob b JOIN page USING (id)
    WHERE b.touched_at < statement_timestamp() - interval '1 minute' AND NOT EXISTS (
        SELECT FROM executions_blobuse u WHERE u.user_id = page.user_id AND u.hash = page.hash)
    FOR UPDATE OF b SKIP LOCKED
), forgotten AS (
    DELETE FROM executions_blob b USING unused WHERE b.id = unused.id RETURNING b.size
)
SELECT (SELECT max(id) FROM page), (SELECT count(*) FROM forgotten), (SELECT coalesce(sum(size), 0) FROM forgotten)
"""


def values_of(user_id: UUID, hashes: Iterable[str | None]) -> dict[str, Any]:
    """A user's large values by hash; each is read once, however often it is named, and None is nothing."""
    return {key: json.decode(encoded) for key, encoded in _read(user_id, hashes).items()}


def forget_blobs() -> tuple[int, int]:
    """Delete the large values that no run has any more, a page at a time; returns how many, and their bytes."""
    after, number, size = 0, 0, 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_FORGET, [after, PAGE])
            last, count, freed = cursor.fetchone()
        if last is None:
            return number, size
        after, number, size = last, number + count, size + int(freed)


def _read(user_id: UUID, hashes: Iterable[str | None]) -> dict[str, bytes]:
    wanted = list({key for key in hashes if key})
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_READ, [user_id, wanted])
        return {key: bytes(encoded) for key, encoded in cursor.fetchall()}
