"""Proving the books: every balance against the transfers, every charge against the node that it is for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from core.errors import DomainError
from credits.models import Account, LedgerAudit, Transfer
from credits.payments.bookings import wrong_bookings
from credits.payments.comparison import compare_lately
from credits.payments.errors import PaymentRefused, PaymentsOff, PaymentsUnavailable
from executions.audit_charges import ChargeAudit
from executions.bookkeeping import RELEASED_AFTER, release_abandoned
from executions.reading import rows_of

MAX_PROBLEMS = 100

_HELD = """
SELECT user_id, sum(amount + pool)::bigint AS held FROM credits_hold WHERE released_at IS NULL GROUP BY user_id
"""

_MOVED = """
SELECT user_id, sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END)::bigint AS moved
FROM credits_transfer WHERE user_id IS NOT NULL GROUP BY user_id
"""

_BALANCES = f"""
WITH held AS ({_HELD}), moved AS ({_MOVED})
SELECT COALESCE(a.user_id, moved.user_id), COALESCE(a.balance, 0), COALESCE(held.held, 0), COALESCE(moved.moved, 0)
FROM credits_account a
FULL JOIN moved ON moved.user_id = a.user_id
LEFT JOIN held ON held.user_id = COALESCE(a.user_id, moved.user_id)
WHERE COALESCE(a.balance, 0) + COALESCE(held.held, 0) <> COALESCE(moved.moved, 0) OR a.balance < a.floor
"""  # noqa: S608  both parts are constants

_SUM = f"""
SELECT COALESCE((SELECT sum(balance) FROM credits_account), 0) + COALESCE((SELECT sum(held) FROM ({_HELD}) AS h), 0)
    + COALESCE((SELECT sum(CASE WHEN credit = 'user' THEN 0 ELSE amount END - CASE WHEN debit = 'user' THEN 0
        ELSE amount END) FROM credits_transfer), 0)
"""  # noqa: S608  the part is a constant

_HOLDS_OF_ENDED = f"""
SELECT h.run_id FROM credits_hold h LEFT JOIN executions_graphexecution r ON r.id = h.run_id
WHERE h.released_at IS NULL
    AND (r.ended_at IS NOT NULL OR r.id IS NULL AND h.placed_at < clock_timestamp() - {RELEASED_AFTER})
"""  # noqa: S608  no outside text

_SPENT = """
SELECT h.run_id, h.spent, COALESCE(t.used, 0) FROM credits_hold h
LEFT JOIN (SELECT run_id, sum(amount)::bigint AS used FROM credits_transfer WHERE kind = 'USAGE' GROUP BY run_id) t
    ON t.run_id = h.run_id
WHERE h.spent <> COALESCE(t.used, 0)
"""


_SPENT_BY_RUN = """
SELECT r.id, r.spent, COALESCE(t.used, 0) FROM executions_graphexecution r
LEFT JOIN (SELECT run_id, sum(amount)::bigint AS used FROM credits_transfer
    WHERE kind = 'USAGE' AND run_id IS NOT NULL GROUP BY run_id) t ON t.run_id = r.id
WHERE r.spent <> COALESCE(t.used, 0)
"""


# What is taken from the budget of an API key is what the runs that count there have used or hold.
_BUDGETS = """
SELECT k.id, k.credits_taken, COALESCE(h.taken, 0) FROM accounts_apikey k
LEFT JOIN (SELECT key_id, sum(amount + pool + spent)::bigint AS taken FROM credits_hold
    WHERE key_id IS NOT NULL GROUP BY key_id) h ON h.key_id = k.id
WHERE k.credits_taken <> COALESCE(h.taken, 0) OR k.credits_taken > k.max_credits * 1000000
"""


@dataclass(slots=True)
class Report:
    """How much was looked at, and every mismatch as a sentence.

    `payments` is None when Stripe was not asked, or did not tell: `stripe_error` is why.
    """

    accounts: int = 0
    transfers: int = 0
    billable_nodes: int = 0
    payments: int | None = None
    problems: list[str] = field(default_factory=list)
    stripe_error: DomainError | None = None


def audit(since: datetime | None = None) -> Report:
    """Compare balances, holds, charges and nodes as they stand at one moment; nodes and charges only `since` then."""
    with transaction.atomic(), connection.cursor() as cursor:
        if len(connection.savepoint_ids) == 0:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        report = Report(Account.objects.count(), Transfer.objects.count())
        charges = ChargeAudit(since or datetime(2000, 1, 1, tzinfo=UTC))
        for problem in _problems(charges):
            if len(report.problems) == MAX_PROBLEMS:
                report.problems.append("There is more; this is where looking ended.")
                break
            report.problems.append(problem)
        report.billable_nodes = charges.billable_nodes
    return report


def audit_on_record(since: datetime | None = None) -> Report:
    """As `audit`, and what was bought and went back beside Stripe's own books, of a month unless told otherwise.

    What is on hold for deleted runs is released first. What was found stays on record, also when Stripe does not
    answer. Where Stripe is not set up it is not asked.
    """
    release_abandoned()
    report = _audit_with_stripe(since)
    LedgerAudit.objects.create(
        since=since,
        accounts=report.accounts,
        transfers=report.transfers,
        billable_nodes=report.billable_nodes,
        payments=report.payments,
        problems=report.problems,
    )
    return report


def _audit_with_stripe(since: datetime | None) -> Report:
    report = audit(since)
    try:
        compared = compare_lately(since or timezone.now() - timedelta(days=31))
    except PaymentsOff:
        return report
    except (PaymentsUnavailable, PaymentRefused) as error:
        report.stripe_error = error
        return report
    report.payments = compared.payments
    report.problems += map(str, compared.mismatches[:MAX_PROBLEMS])
    return report


def _problems(charges: ChargeAudit) -> Iterator[str]:
    [(total,)] = rows_of(_SUM, [])
    if total:
        yield f"All accounts together hold {total} micro-credits, not 0"
    for user_id, balance, held, moved in rows_of(_BALANCES, []):
        yield f"User {user_id} has {balance} and {held} on hold, but transfers of {moved}, or less than the floor"
    for (run_id,) in rows_of(_HOLDS_OF_ENDED, []):
        yield f"Run {run_id} has ended, its hold is open"
    for run_id, spent, used in rows_of(_SPENT, []):
        yield f"Run {run_id} has used {used}, its hold says {spent}"
    for run_id, spent, used in rows_of(_SPENT_BY_RUN, []):
        yield f"Run {run_id} has used {used}, its row says {spent}"
    for key_id, taken, held in rows_of(_BUDGETS, []):
        yield f"Of the budget of API key {key_id} {taken} is taken, or too much; its runs have used or hold {held}"
    yield from wrong_bookings()
    yield from charges.problems()
