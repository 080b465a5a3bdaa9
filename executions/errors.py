"""How runs fail."""

from collections.abc import Mapping

from core.errors import Conflict, DomainError, Invalid, NotFound
from graphs.errors import first_of, told


class NoSuchRun(NotFound):
    """There is no such run."""


class NoSuchNode(NotFound):
    """The graph of the run has no such node."""


class RunUnderWay(Conflict):
    """The run has not ended."""

    hint = "Wait for its end, or stop it first."


class NothingToRetry(Conflict):
    """Every node of the run succeeded."""

    hint = "Replay the run from a node to run that and what follows again, or start a new run."


class NotComparable(Invalid):
    """The runs are not of one version of one graph."""

    hint = "Compare a run with one that was started, retried or replayed from the same version."


class NotRunnable(Invalid):
    """The graph cannot run with these inputs; `node_errors` says why as {node id: {pin: message}}."""

    def __init__(self, node_errors: Mapping[str, Mapping[str, str]]) -> None:
        self.messages = told(node_errors)
        super().__init__(f"The graph cannot run with these inputs. {first_of(self.messages)}")
        self.data["detail"] = {
            "type": "validation_error",
            "message": self.message,
            "node_errors": node_errors,
        }


class TooDeep(Conflict):
    """The graph calls itself, or others, deeper than the limit."""


class OverLimit(DomainError):
    """The run has used up what it was given."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Fenced(DomainError):
    """Another worker has taken the run over: everything this one still holds is dropped."""
