"""What presets ask about runs: the floor above answers, which starts them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from library.models import Preset


@dataclass(frozen=True, slots=True)
class RunValues:
    """Which version of which graph a run is of, and what it was started with."""

    graph_id: UUID
    graph_version: int
    inputs: Mapping[str, Any]
    credentials: Mapping[str, Any]


class Runs(Protocol):
    """Runs of graphs; its methods raise `DomainError`."""

    def values_of(self, user_id: UUID, run_id: UUID) -> RunValues:
        """What this run of the user was started with."""

    def check(self, preset: Preset) -> None:
        """Raise what would be raised if an event started the preset now, and start nothing."""


_runs: list[Runs] = []


def connect(runs: Runs) -> None:
    """Have these answer from now on."""
    _runs[:] = [runs]


def values_of(user_id: UUID, run_id: UUID) -> RunValues:
    """What a run of the user was started with; raises `NotFound`, or `RunNotKeepable` if a preset cannot keep it."""
    return _runs[0].values_of(user_id, run_id)


def check(preset: Preset) -> None:
    """Raise what would be raised if an event started the preset now, and start nothing."""
    _runs[0].check(preset)
