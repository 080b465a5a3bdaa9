"""What the engine reads from its rows, as plain data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from executions.engine.values import Large
from executions.kinds import Status


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that this process owns until the lease lapses, with what it needs to go on.

    One with a `price_version` is metered; `held` is what it has set aside, if it has a hold, and `is_capped` says
    whether its family has a budget.
    """

    run_id: UUID
    fence: int
    graph_id: UUID
    graph_version: int
    user_id: UUID
    parent_id: UUID | None
    inputs: dict[str, Any]
    nodes_input_masks: dict[str, dict[str, Any]]
    wakes: int
    claims: int
    cancelled: bool
    head_seq: int
    node_count: int
    node_budget: int
    deadline_at: datetime | None
    now: datetime
    time_zone: str
    human_in_the_loop_safe_mode: bool
    sensitive_action_safe_mode: bool
    nodes_to_skip: list[str]
    is_dry_run: bool
    output_count: int
    output_budget: int
    price_version: int | None
    held: int | None
    is_capped: bool | None
    api_key_id: UUID | None


@dataclass(frozen=True, slots=True)
class Committed:
    """What the run's row says after a commit.

    `woken` is the parent run that now has something to look at, `wakes_in` the seconds until a parked run is due.
    `is_crowded` tells of a run that ended or parked that all places of its user, or of its graph, had been taken.
    """

    status: Status
    head_seq: int
    wakes: int
    cancelled: bool
    woken: UUID | None
    is_crowded: bool
    wakes_in: float | None


@dataclass(frozen=True, slots=True)
class History:
    """What a run left behind: the rows from which its state is built again, and the large values by their hashes."""

    open: list[dict[str, Any]]
    held: list[dict[str, Any]]
    fired: dict[UUID, int]
    kept: list[dict[str, Any]]
    tokens: list[dict[str, Any]]
    blobs: dict[str, Large]
