"""How graphs fail."""

from core.errors import Invalid, NotFound


class GraphNotFound(NotFound):
    """There is no such graph, or it is not yours."""

    hint = "GET /api/graphs lists your graphs."
