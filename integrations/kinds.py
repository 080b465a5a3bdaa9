"""Whose events are understood here, and what is known of one. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Provider(StrEnum):
    """Who sends to a webhook, and so how its deliveries are signed and named."""

    GENERIC = "generic_webhook"
    GITHUB = "github"


@dataclass(frozen=True, slots=True)
class Event:
    """One event as its provider tells it: `payload` is the body as it came.

    Without a `delivery_id` it is like no other: nobody can tell it when it comes again. `is_test` says that the
    provider only wanted to know whether somebody listens.
    """

    kind: str
    delivery_id: str | None
    payload: bytes
    is_test: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a delivery led to for one preset: a run, or the reason why there is none."""

    preset_id: UUID
    run_id: UUID | None = None
    reason: str = ""

    def to_json(self) -> dict[str, str | None]:
        """As the delivery keeps it."""
        run_id = None if self.run_id is None else str(self.run_id)
        return {"preset_id": str(self.preset_id), "run_id": run_id, "reason": self.reason}
