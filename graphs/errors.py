"""How graphs fail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from core.errors import Conflict, DomainError, Invalid, NotFound

# What is wrong with single pins: {node id: {pin: message}}.
NodeErrors = dict[str, dict[str, str]]
MOST_PROBLEMS = 100
MOST_USES = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """A flaw in how a drawing hangs together: where it is, and what would be allowed there."""

    type: str
    message: str
    node_id: str | None = None
    link_id: str | None = None
    pin: str | None = None
    allowed: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The problem as clients are told it; what does not apply is null or empty."""
        return {
            "type": self.type,
            "message": self.message,
            "node_id": self.node_id,
            "link_id": self.link_id,
            "pin": self.pin,
            "allowed": list(self.allowed),
        }


class GraphNotFound(NotFound):
    """There is no such graph, or it is not yours."""

    hint = "GET /api/graphs lists your graphs."


class GraphChanged(DomainError):
    """The graph is not as it was when you read it, so nothing was saved."""

    status: ClassVar[int] = 412
    hint: ClassVar[str] = "Get the graph, put your changes into it, and send its new ETag as If-Match."


class GraphInUse(Conflict):
    """Something of yours runs the graph, so it was not deleted; `used_by` lists the first 20 with their ids and names.

    `uses` are such things, by kind, id and name.
    """

    hint: ClassVar[str] = "Delete what is listed in used_by first."

    def __init__(self, uses: Sequence[tuple[str, str, str]]) -> None:
        names = [f'{kind} "{name}"' for kind, _, name in uses]
        super().__init__(
            f"The graph was not deleted: it is used by {first_of(names)}",
            used_by=[{"kind": kind, "id": use_id, "name": name} for kind, use_id, name in uses[:MOST_USES]],
        )


class UnknownBlock(NotFound):
    """There is no block with this id."""

    hint = "GET /api/blocks lists the blocks; a block of a third-party package needs that package to be installed."


class GraphIdMismatch(Invalid):
    """The id in the body is another graph's."""

    hint: ClassVar[str] = "Send the id of the path in the body, or an empty one."


class GraphInvalid(Invalid):
    """The drawing does not hold together, so it was not saved.

    `problems` lists the first 100 flaws of the structure, `node_errors` what is wrong with single pins as
    {node id: {pin: message}}, and `problem_count` counts both.
    """

    hint: ClassVar[str] = "GET /api/blocks lists every block with its pins; nothing was saved."

    def __init__(self, problems: Sequence[Problem], node_errors: NodeErrors) -> None:
        self.messages = [problem.message for problem in problems] + told(node_errors)
        super().__init__(
            first_of(self.messages),
            problems=[problem.as_json() for problem in problems[:MOST_PROBLEMS]],
            problem_count=len(self.messages),
            node_errors=node_errors,
        )


def told(node_errors: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What is wrong with each pin, in a line of its own."""
    return [
        f"Node {node_id}, {pin}: {message}" for node_id, pins in node_errors.items() for pin, message in pins.items()
    ]


def first_of(messages: Sequence[str]) -> str:
    """The first of several messages, and how many follow."""
    more = f" (and {len(messages) - 1} more)" if len(messages) > 1 else ""
    return f"{messages[0]}{more}"
