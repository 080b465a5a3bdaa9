"""How runs fail."""

from core.errors import Conflict, DomainError, Invalid, NotFound


class NoSuchRun(NotFound):
    """There is no such run."""


class NotRunnable(Invalid):
    """The graph cannot run with these inputs."""

    def __init__(self, node_errors: dict[str, dict[str, str]], message: str = "") -> None:
        super().__init__(message)
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
