"""A person who says yes to everything, whatever happens to the servers meanwhile."""

import threading
from types import TracebackType
from typing import Self

from django.db import InterfaceError, OperationalError, connection

from core.errors import DomainError
from executions.models import Review
from executions.reviews import Verdict, decide

LOOK_SECONDS = 0.1


class Person(threading.Thread):
    """Approves what waits for a decision, as long as the context lasts."""

    def __init__(self) -> None:
        super().__init__(name="person", daemon=True)
        self._has_left = threading.Event()

    def run(self) -> None:
        """Look for reviews and approve them, one after the other."""
        while not self._has_left.wait(LOOK_SECONDS):
            try:
                for review in Review.objects.waiting():
                    self._approve(review)
            # Postgres is away, and comes back.
            except (OperationalError, InterfaceError):
                connection.close()
        connection.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_left.set()
        self.join(10)

    def _approve(self, review: Review) -> None:
        try:
            decide(review.user_id, [Verdict(review.node_execution_id, approved=True)])
        # Its run ended meanwhile, or its activation is not written down yet.
        except DomainError:
            return
