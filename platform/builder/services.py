"""What the menu knows about the one who asks: their graphs, what they looked for, and what people use most."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import OuterRef, Q, Subquery

from accounts.models import User
from builder import menu
from builder.models import MAX_QUERY, Search
from builder.relevance import LEAST, Extra, relevance
from executions.models import GraphExecution
from graphs.metas import metas_of
from graphs.models import GraphVersion

RECENT = 5
TOP = 5
# Searches of a user that are kept.
KEPT = 50
# Graphs of a user that a search looks at.
MOST_GRAPHS = 100

_TOP_FOR_SECONDS = 3600
_THIRTY_DAYS_MS = 30 * 86_400_000
# So many of the newest activations tell what people use: counting more takes longer and tells the same.
_SAMPLE = 100_000
_USES = """
SELECT block_id, count(*) FROM (
    SELECT block_id FROM executions_nodeexecution WHERE id >= %s ORDER BY id DESC LIMIT %s
) AS sample GROUP BY block_id ORDER BY count(*) DESC, block_id
"""
_STATUSES = {"FAILED": "ERROR", "QUEUED": "WAITING", "REVIEW": "WAITING", "RUNNING": "HEALTHY", "WAITING": "HEALTHY"}

Json = dict[str, Any]


class Filter(StrEnum):
    """What a search is for."""

    BLOCKS = "blocks"
    INTEGRATIONS = "integrations"
    MARKETPLACE_AGENTS = "marketplace_agents"
    MY_AGENTS = "my_agents"


@dataclass(frozen=True, slots=True)
class Found:
    """What fits, best first: blocks as they are shown, and graphs as rows. `totals` counts both by filter."""

    items: Sequence[menu.Entry | GraphVersion]
    totals: dict[str, int]


# --- Searching --------------------------------------------------------------------------------------------------


def search(user: User, query: str, filters: Sequence[Filter]) -> Found:
    """The blocks and the graphs of `user` that fit the first 100 characters of a query, best first and then by name.

    Without filters all are meant; without a query everything fits.
    """
    wanted = frozenset(filters or Filter)
    query = " ".join(query[:MAX_QUERY].lower().split())
    totals = dict.fromkeys((each.value for each in Filter), 0)
    hits: list[tuple[float, str, menu.Entry | GraphVersion]] = []
    for points, entry in menu.ranked(query):
        kind = Filter.INTEGRATIONS if entry.is_integration else Filter.BLOCKS
        if kind in wanted:
            totals[kind] += 1
            hits.append((points, entry.name, entry))
    if Filter.MY_AGENTS in wanted:
        graphs = _fitting_graphs(user, query)
        totals[Filter.MY_AGENTS] = len(graphs)
        hits += graphs
    hits.sort(key=lambda hit: (-hit[0], hit[1].lower()))
    return Found([item for _, _, item in hits], totals)


def shown(user: User, items: Sequence[menu.Entry | GraphVersion]) -> list[Json]:
    """What was found as clients get it: blocks as in the catalogue, graphs as LibraryAgent."""
    versions = [item for item in items if isinstance(item, GraphVersion)]
    drawn = (
        GraphVersion.objects.visible_to(user)
        .filter(pk__in=[version.pk for version in versions])
        .select_related("graph")
    )
    agents = _agents(user, list(drawn.annotate(last_status=_last_status(user)))) if versions else {}
    return [agents[item.pk] if isinstance(item, GraphVersion) else item.info for item in items]


def number_of_graphs(user: User) -> int:
    """How many graphs a search of `user` could find."""
    return GraphVersion.objects.visible_to(user).active().count()


def _fitting_graphs(user: User, query: str) -> list[tuple[float, str, menu.Entry | GraphVersion]]:
    mine = GraphVersion.objects.visible_to(user).active().select_related("graph")
    if query:
        mine = mine.filter(Q(name__icontains=query) | Q(description__icontains=query))
    rows = mine.order_by("-graph__updated_at", "-graph_id")[:MOST_GRAPHS]
    scored = ((_points(row, user, query), row) for row in rows)
    return [(points, row.name, row) for points, row in scored if points >= LEAST or not query]


def _points(row: GraphVersion, user: User, query: str) -> float:
    if not query:
        return 0.0
    extras = [Extra(user.name, 10, 5), Extra(row.instructions, 15, 6)]
    return relevance(query, row.name, row.description, extras)


def _last_status(user: User) -> Subquery:
    runs = GraphExecution.objects.visible_to(user).filter(graph=OuterRef("graph_id"))
    return Subquery(runs.order_by("-created_at", "-pk").values("status")[:1])


def _agents(user: User, versions: Sequence[GraphVersion]) -> dict[UUID, Json]:
    metas = metas_of(versions)
    return {version.pk: _agent(user, version, meta) for version, meta in zip(versions, metas, strict=True)}


def _agent(user: User, version: GraphVersion, meta: Json) -> Json:
    graph = version.graph
    of_graph = ("name", "description", "instructions", "input_schema", "output_schema", "credentials_input_schema")
    computed = ("has_external_trigger", "has_human_in_the_loop", "has_sensitive_action", "trigger_setup_info")
    return {
        # There is no library beside the graphs: its agents are the graphs.
        "id": meta["id"],
        "graph_id": meta["id"],
        "graph_version": version.version,
        "owner_user_id": str(user.pk),
        "image_url": None,
        "creator_name": user.name,
        "creator_image_url": "",
        "status": _STATUSES.get(version.last_status, "COMPLETED"),  # type: ignore[attr-defined]  # annotated
        "created_at": graph.created_at,
        "updated_at": graph.updated_at,
        **{name: meta[name] for name in (*of_graph, *computed)},
        "new_output": False,
        "can_access_graph": True,
        "is_latest_version": version.version == graph.latest_version,
        "is_favorite": False,
        "recommended_schedule_cron": meta["recommended_schedule_cron"],
        "settings": {
            "human_in_the_loop_safe_mode": graph.human_in_the_loop_safe_mode,
            "sensitive_action_safe_mode": graph.sensitive_action_safe_mode,
        },
        "marketplace_listing": None,
    }


# --- What was looked for, and what is used ----------------------------------------------------------------------


@transaction.atomic
def remember(
    user: User, search_id: UUID | None, query: str, filters: Sequence[Filter], creators: Sequence[str]
) -> UUID:
    """Write a search down, in place of that with `search_id` if it is one of `user`, and return its id."""
    what = {"query": query[:MAX_QUERY], "filters": [each.value for each in filters], "creators": list(creators)}
    found = Search.objects.visible_to(user).filter(pk=search_id).first() if search_id else None
    if found is not None:
        for name, value in what.items():
            setattr(found, name, value)
        found.save()
        return found.pk
    made = Search.objects.create(user=user, **what)
    Search.objects.forget_all_but(user.pk, KEPT)
    return made.pk


def recent_searches(user: User) -> list[Search]:
    """The last things that `user` looked for."""
    return list(Search.objects.visible_to(user).newest(RECENT))


def top_blocks() -> list[menu.Entry]:
    """The blocks of actions that were used most in the last 30 days, as it was within the last hour."""
    used = menu.placed_by(_used(int(time.time() // _TOP_FOR_SECONDS)))
    return [entry for entry in used if entry.is_action][:TOP]


@lru_cache(maxsize=1)
def _used(hour: int) -> tuple[str, ...]:
    since = UUID(int=max(0, hour * _TOP_FOR_SECONDS * 1000 - _THIRTY_DAYS_MS) << 80)
    with connection.cursor() as cursor:
        cursor.execute(_USES, [since, _SAMPLE])
        return tuple(block_id for block_id, _ in cursor.fetchall())
