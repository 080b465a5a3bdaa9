"""What was bought and went back beside the transfers that it led to, in our own rows alone."""

from collections.abc import Iterator

from django.db import connection

_UNLIKE = """
WITH expected AS (
    SELECT 'topup:' || payment_id AS key, user_id, amount * 1000000::numeric AS change
    FROM credits_topup WHERE status = 'paid'
    UNION ALL
    SELECT r.kind || ':' || r.stripe_id || returned.suffix, t.user_id,
        returned.sign * div(t.amount * 1000000::numeric * r.amount, t.paid)
    FROM credits_reversal r JOIN credits_topup t ON t.id = r.top_up_id AND t.paid > 0
    CROSS JOIN (VALUES ('', -1), (':returned', 1)) AS returned(suffix, sign)
    WHERE CASE WHEN returned.sign < 0 THEN r.taken_at ELSE r.returned_at END IS NOT NULL
), booked AS (
    SELECT key, user_id, CASE WHEN credit = 'user' THEN amount ELSE -amount END::numeric AS change
    FROM credits_transfer WHERE kind IN ('TOP_UP', 'REFUND')
)
SELECT key, expected.change::bigint, booked.change::bigint FROM expected FULL JOIN booked USING (key)
WHERE (expected.user_id, expected.change) IS DISTINCT FROM (booked.user_id, booked.change) ORDER BY key
"""


def wrong_bookings() -> Iterator[str]:
    """A sentence for each top-up, refund or dispute that moved other credits than it should."""
    with connection.cursor() as cursor:
        cursor.execute(_UNLIKE)
        for key, expected, booked in cursor.fetchall():
            if expected == booked:
                yield f"{key} is booked for somebody else"
            else:
                yield f"{key} should have moved {expected or 0} micro-credits, and moved {booked or 0}"
