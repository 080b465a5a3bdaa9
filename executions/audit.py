"""Proving the books: every balance against the transfers, every charge against the node that it is for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from core.errors import DomainError
from credits.kinds import MOST
from credits.models import Account, Hold, LedgerAudit, Transfer
from credits.payments.bookings import wrong_bookings
from credits.payments.comparison import compare_lately
from credits.payments.errors import PaymentRefused, PaymentsOff, PaymentsUnavailable
from credits.price_lists import Entry
from executions import prices
from executions.kinds import NodeStatus
from executions.models import NodeExecution
from executions.prices import Prices
from executions.reading import rows_of
from graphs.blocks.registry import BLOCKS
from graphs.errors import UnknownBlock

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

# Of runs that are still there.
_WITHOUT_A_NODE = """
SELECT t.key FROM credits_transfer t JOIN executions_graphexecution r ON r.id = t.run_id
LEFT JOIN executions_nodeexecution n ON n.id = (t.metadata ->> 'node_exec_id')::uuid AND n.run_id = t.run_id
WHERE t.kind = 'USAGE' AND t.metadata ? 'node_exec_id' AND n.status IS DISTINCT FROM 'COMPLETED' AND t.at >= %s
"""

_FEES = """
SELECT t.run_id, count(*), r.node_count FROM credits_transfer t JOIN executions_graphexecution r ON r.id = t.run_id
WHERE t.kind = 'USAGE' AND NOT t.metadata ? 'node_exec_id' AND t.at >= %s
GROUP BY t.run_id, r.node_count HAVING count(*) > r.node_count / 100
"""

_HOLDS_OF_ENDED = """
SELECT h.run_id FROM credits_hold h LEFT JOIN executions_graphexecution r ON r.id = h.run_id
WHERE h.released_at IS NULL AND (r.id IS NULL OR r.ended_at IS NOT NULL)
"""

_SPENT = """
SELECT h.run_id, h.spent, COALESCE(t.used, 0) FROM credits_hold h
LEFT JOIN (SELECT run_id, sum(amount)::bigint AS used FROM credits_transfer WHERE kind = 'USAGE' GROUP BY run_id) t
    ON t.run_id = h.run_id
WHERE h.spent <> COALESCE(t.used, 0)
"""


_SPENT_BY_RUN = """
SELECT r.id, r.spent, t.used FROM executions_graphexecution r
JOIN (SELECT run_id, sum(amount)::bigint AS used FROM credits_transfer
    WHERE kind = 'USAGE' AND run_id IS NOT NULL GROUP BY run_id) t ON t.run_id = r.id
WHERE r.spent <> t.used
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
        began = since or datetime(2000, 1, 1, tzinfo=UTC)
        for problem in _problems(report, began):
            if len(report.problems) == MAX_PROBLEMS:
                report.problems.append("There is more; this is where looking ended.")
                break
            report.problems.append(problem)
    return report


def audit_on_record(since: datetime | None = None) -> Report:
    """As `audit`, and what was bought and went back beside Stripe's own books, of a month unless told otherwise.

    What was found stays on record, also when Stripe does not answer. Where Stripe is not set up it is not asked.
    """
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


def _problems(report: Report, since: datetime) -> Iterator[str]:
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
    for (key,) in rows_of(_WITHOUT_A_NODE, [since]):
        yield f"{key} was charged, and no such node is COMPLETED"
    for run_id, fees, nodes in rows_of(_FEES, [since]):
        yield f"Run {run_id} paid {fees} fees for {nodes} activations"
    yield from wrong_bookings()
    yield from _uncharged(report, since)


def _uncharged(report: Report, since: datetime) -> Iterator[str]:
    """Nodes that ended well and have a price, and were not charged what the rows say it comes to."""
    nodes = NodeExecution.objects.filter(
        run__price_version__isnull=False, status=NodeStatus.COMPLETED, started_fence__gt=0, ended_at__gte=since
    ).select_related("run")
    known: dict[int, Prices] = {}
    bounded = set(Hold.objects.filter(Q(cap__isnull=False) | Q(key_id__isnull=False)).values_list("run_id", flat=True))
    for node in nodes.iterator(chunk_size=1000):
        version = node.run.price_version
        if version is None or str(node.node_id) in node.run.nodes_to_skip:
            continue
        book = known.setdefault(version, prices.of(version))
        entry = prices.matching(_entries(book, node.block_id), node.input_data)
        if entry is None or not entry.amount or entry.per == "token":
            continue
        report.billable_nodes += 1
        key = f"use:{node.run_id}:{node.node_id}:{node.ordinal}:{entry.per}"
        charged = Transfer.objects.filter(key=key).values_list("amount", flat=True).first()
        least, most = _range_of(entry, node)
        if node.run.error_code == "debt_exceeded" or (
            (node.run.root_id or node.run_id) in bounded and entry.per != "run"
        ):
            least = 0
        if not least <= (charged or 0) <= most:
            yield f"{key} costs {_shown(least, most)}, and was charged {charged}"


def _range_of(entry: Entry, node: NodeExecution) -> tuple[int, int]:
    """The least and the most that a node may have been charged, by what its row tells of what was measured."""
    match entry.per:
        case "run":
            return entry.amount, entry.amount
        case "item":
            due = min(entry.amount * node.output_count, MOST)
            return due, due
        case "byte":
            return min(node.output_count, 1), MOST
        case _:
            # Of an attempt that was lost nobody knows how long it took.
            return int(node.attempt == 1 and not node.waits), MOST


def _shown(least: int, most: int) -> str:
    return str(least) if least == most else f"at least {least}"


def _entries(book: Prices, block_id: str) -> Iterable[Entry]:
    """The prices of a block; of one whose package is gone, what its list has on record."""
    try:
        block = BLOCKS.get(block_id)
    except UnknownBlock:
        return book.recorded(block_id)
    return book.of(block)
