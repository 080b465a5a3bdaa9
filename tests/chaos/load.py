"""Runs that are started all the while, as a web process would start them."""

import random
import threading
import time
from collections.abc import Mapping
from uuid import UUID

from django.db import connection

from executions import services
from executions.models import GraphExecution
from tests.chaos.stack import persistently
from tests.drawing import Drawn

# As many runs may be on their way before no more are started.
MOST_AT_ONCE = 60
STARTS_PER_SECOND = 20
DROPPED_DOORBELLS = 0.2


class Load(threading.Thread):
    """Starts runs of the graphs at random until it is told to stop.

    A start that is not answered is tried again with the same key until it is: whatever has a key must have a run.
    """

    def __init__(self, seed: int, owner_id: UUID, graphs: Mapping[str, Drawn], most_runs: int | None) -> None:
        super().__init__(name="load", daemon=True)
        self.keys: dict[str, str] = {}
        self.dropped_doorbells = 0
        self.failure: Exception | None = None
        self._seed = seed
        self._random = random.Random(seed)
        self._owner_id = owner_id
        self._graphs = graphs
        self._most_runs = most_runs
        self._enough = threading.Event()

    def run(self) -> None:
        """Start runs until `finish`."""
        try:
            while not self._enough.is_set() and (self._most_runs is None or len(self.keys) < self._most_runs):
                if persistently(_under_way) < MOST_AT_ONCE:
                    self.start_one(self._random.choice(sorted(self._graphs)))
                time.sleep(self._random.expovariate(STARTS_PER_SECOND))
        # Told by whoever waits for this thread; nothing would be known of it otherwise.
        except Exception as error:
            self.failure = error
        finally:
            connection.close()

    def start_one(self, shape: str) -> UUID:
        """Start one run of a shape; returns its id once it is there."""
        key = f"chaos:{self._seed}:{len(self.keys)}"
        ring = self._random.random() >= DROPPED_DOORBELLS
        self.keys[key] = shape
        self.dropped_doorbells += not ring
        graph = self._graphs[shape]
        run = persistently(
            lambda: services.start_run(graph.id, 1, user_id=self._owner_id, inputs={}, trigger_key=key, ring=ring)
        )
        return run.pk

    def finish(self) -> None:
        """Start no more; returns when the last start was answered."""
        self._enough.set()
        self.join(120)
        if self.failure is not None:
            raise self.failure
        assert not self.is_alive(), "a start is not answered"


def _under_way() -> int:
    return GraphExecution.objects.filter(ended_at=None, parent=None).count()
