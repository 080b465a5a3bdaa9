"""The states of runs and activations, the policies of schedules, the kinds of events: names that are on the wire."""

from enum import StrEnum

# What a run's rows mean to an engine. Raised, with a migration, when an older engine could not go on from what a newer
# one wrote: it then leaves those runs alone.
ENGINE_VERSION = 3


class Status(StrEnum):
    """Where a run stands. WAITING is a run parked on a timer or a child run; clients see it as RUNNING.

    REVIEW is a run in which nothing is left to do until a person decides.
    """

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    REVIEW = "REVIEW"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"

    @property
    def is_final(self) -> bool:
        """Whether a run in this state never changes again."""
        return self in FINAL

    @property
    def wire(self) -> str:
        """The contract's name of this state."""
        return Status.RUNNING.value if self is Status.WAITING else self.value


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.TERMINATED})
ACTIVE = frozenset(Status) - FINAL
# Nobody drives the run: it waits for a time, or for something outside of it.
PARKED = frozenset({Status.WAITING, Status.REVIEW})


class NodeStatus(StrEnum):
    """Where one activation of a node stands. WAITING is one that sleeps or waits for a child run."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    REVIEW = "REVIEW"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"

    @property
    def wire(self) -> str:
        """The contract's name of this state."""
        return NodeStatus.RUNNING.value if self is NodeStatus.WAITING else self.value


class ReviewStatus(StrEnum):
    """Where a question to a person stands."""

    WAITING = "WAITING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


class Misfire(StrEnum):
    """What becomes of times of a schedule that went by while nobody looked: none, the last, or all of a window."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Overlap(StrEnum):
    """Whether a schedule starts a run while the last one it started is under way."""

    ALLOW = "allow"
    SKIP = "skip"


class FireOutcome(StrEnum):
    """What a time of a schedule led to: a run, nothing because of the last one, or a refusal that paused it."""

    STARTED = "started"
    OVERLAPPED = "overlapped"
    REFUSED = "refused"


class EventKind(StrEnum):
    """What an event says happened, to the run or to one activation."""

    RUN_QUEUED = "run.queued"
    RUN_STARTED = "run.started"
    RUN_REVIEW = "run.review"
    RUN_RESUMED = "run.resumed"
    RUN_COMPLETED = "run.completed"
    RUN_FAILED = "run.failed"
    RUN_TERMINATED = "run.terminated"
    NODE_STARTED = "node.started"
    NODE_OUTPUT = "node.output"
    NODE_WAITING = "node.waiting"
    NODE_REVIEW = "node.review"
    NODE_COMPLETED = "node.completed"
    NODE_FAILED = "node.failed"
    NODE_TERMINATED = "node.terminated"
