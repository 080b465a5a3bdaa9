"""What a run needs before it may begin, where use is paid for: prices, a balance, and credits set aside."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from uuid import UUID

from credits import price_lists
from credits.balances import mode, refill_this_month
from credits.holds import Wish
from credits.kinds import CREDIT, Mode
from executions import prices
from graphs.blocks.base import Kind
from graphs.blocks.registry import BLOCKS
from graphs.definition import GraphDefinition
from graphs.services import load_definition


def is_metered(*, is_dry_run: bool) -> bool:
    """Whether a run that starts now is paid for."""
    return mode() is not Mode.DISABLED and not is_dry_run


def prices_for(user_id: UUID) -> int:
    """The version of the prices that a run of the user begins with now; a monthly refill that is due is made first."""
    if mode() is Mode.MONTHLY:
        refill_this_month(user_id)
    return price_lists.newest()


def wishes(
    graph_id: UUID,
    version: int,
    price_version: int,
    runs: Mapping[UUID, int | None],
    keys: Mapping[UUID, UUID] = MappingProxyType({}),
) -> list[Wish]:
    """What to set aside for runs of a graph: what each is likely to use, at most its `max_credits`, its value here.

    `keys` are the API keys with budgets that start some of them.
    """
    likely, is_shared = likely_price(graph_id, version, price_version)
    found = []
    for run_id, max_credits in runs.items():
        cap = None if max_credits is None else max_credits * CREDIT
        if likely or cap is not None or run_id in keys:
            found.append(Wish(run_id, likely if cap is None else min(likely, cap), cap, is_shared, keys.get(run_id)))
    return found


@lru_cache(maxsize=1000)
def likely_price(graph_id: UUID, version: int, price_version: int) -> tuple[int, bool]:
    """What each node costs once, in micro-credits, and whether the graph calls others."""
    definition = load_definition(graph_id, version)
    known = prices.of(price_version)
    linked: dict[UUID, set[str]] = {node.id: set() for node in definition.nodes}
    for link in definition.links:
        linked[link.sink_id].add(link.sink_name)
    total = 0
    for node in definition.nodes:
        entry = prices.likely(known.of(BLOCKS.get(node.block_id)), node, linked[node.id])
        total += 0 if entry is None else entry.amount
    return total, calls_others(definition)


def calls_others(definition: GraphDefinition) -> bool:
    """Whether a graph has nodes that call graphs."""
    return any(BLOCKS.get(node.block_id).kind is Kind.AGENT for node in definition.nodes)
