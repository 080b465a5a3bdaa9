"""What a node's metadata may ask of the engine: attempts, a time limit, a process, and what follows a lost worker."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

DAY = 86_400.0


class Retry(BaseModel):
    """How often a node that fails is tried altogether, and how many seconds lie between.

    The pause before attempt n + 1 is `seconds` times `backoff` to the power of n - 1, a day at the most.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(ge=1, le=100)
    seconds: float = Field(1.0, ge=0, le=DAY)
    backoff: float = Field(2.0, ge=1, le=10)

    def pause_after(self, attempt: int) -> float | None:
        """The seconds to wait after a failed attempt, counted from 1; None when it was the last."""
        return min(DAY, self.seconds * self.backoff ** (attempt - 1)) if attempt < self.attempts else None


class OnUnknown(StrEnum):
    """What becomes of a node when nobody knows whether its effect happened, and it must not simply be repeated.

    It fails, or a person is asked whether to run it again, or it is run again at its owner's risk.
    """

    FAIL = "fail"
    REVIEW = "review"
    RERUN = "rerun"


class NodePolicy(BaseModel):
    """The keys of a node's metadata that the engine obeys; all others are the editor's.

    An `isolated` node runs in a process of its own, as all nodes of a block that declares it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    retry: Retry = Retry(attempts=1)
    timeout_seconds: float | None = Field(None, gt=0, le=DAY)
    isolated: bool = Field(False, strict=True)
    on_unknown: OnUnknown = OnUnknown.FAIL

    @property
    def most_seconds(self) -> float | None:
        """How long its block may run in all attempts of one activation together; None if nothing limits that."""
        return None if self.timeout_seconds is None else self.timeout_seconds * self.retry.attempts


def policy_of(metadata: Mapping[str, Any]) -> NodePolicy:
    """The policy that a node's metadata asks for; raises `ValueError` for one that cannot be obeyed."""
    return NodePolicy.model_validate(metadata)


def policy_errors(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the policy, by the place in the metadata; empty when it can be obeyed."""
    try:
        policy_of(metadata)
    except ValidationError as error:
        return {
            ".".join(["metadata", *map(str, problem["loc"])]): problem["msg"]
            for problem in error.errors(include_url=False, include_context=False)
        }
    return {}
