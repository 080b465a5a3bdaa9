"""The rows of this app, and the questions about them."""

from executions.models.questions import NodeTask, NodeTaskPart, Review
from executions.models.runs import (
    Blob,
    BlobUse,
    Event,
    GraphExecution,
    GraphExecutionQuerySet,
    NodeExecution,
    NodeOutput,
    Token,
)
from executions.models.schedules import Fire, Schedule

__all__ = [
    "Blob",
    "BlobUse",
    "Event",
    "Fire",
    "GraphExecution",
    "GraphExecutionQuerySet",
    "NodeExecution",
    "NodeOutput",
    "NodeTask",
    "NodeTaskPart",
    "Review",
    "Schedule",
    "Token",
]
