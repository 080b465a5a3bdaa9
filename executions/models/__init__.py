"""The rows of this app, and the questions about them."""

from executions.models.runs import (
    Blob,
    BlobUse,
    Event,
    GraphExecution,
    GraphExecutionQuerySet,
    NodeExecution,
    NodeOutput,
    NodeTask,
    Review,
    Token,
)

__all__ = [
    "Blob",
    "BlobUse",
    "Event",
    "GraphExecution",
    "GraphExecutionQuerySet",
    "NodeExecution",
    "NodeOutput",
    "NodeTask",
    "Review",
    "Token",
]
