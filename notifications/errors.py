"""How reading notices fails."""

from core.errors import NotFound


class NoSuchNotification(NotFound):
    """There is no such notification, or it is not yours."""
