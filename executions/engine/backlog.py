"""Runs that wait for room in this process, in a fair order: each user's oldest in turn. Pure."""

import heapq
from collections import OrderedDict
from uuid import UUID


class Backlog:
    """Runs told of while the process was full. Whose they are is found out later, for many at once."""

    def __init__(self) -> None:
        self._unknown: dict[UUID, None] = {}
        self._lines: OrderedDict[UUID, list[UUID]] = OrderedDict()
        self._sorted: set[UUID] = set()

    def __len__(self) -> int:
        return len(self._unknown) + len(self._sorted)

    def add(self, run_id: UUID) -> None:
        """A run, nobody knows yet whose."""
        if run_id not in self._sorted:
            self._unknown[run_id] = None

    def take_unknown(self, limit: int) -> list[UUID]:
        """At most `limit` runs whose user is to be found out; they are in the backlog no more."""
        taken = list(self._unknown)[:limit]
        for run_id in taken:
            del self._unknown[run_id]
        return taken

    def put(self, run_id: UUID, user_id: UUID) -> None:
        """A run of this user, behind the user's older ones."""
        if run_id not in self._sorted:
            self._sorted.add(run_id)
            heapq.heappush(self._lines.setdefault(user_id, []), run_id)

    def pop(self) -> UUID | None:
        """The oldest run of the user whose turn it is."""
        if not self._lines:
            return None
        user_id, line = self._lines.popitem(last=False)
        run_id = heapq.heappop(line)
        self._sorted.remove(run_id)
        if line:
            self._lines[user_id] = line
        return run_id

    def forget(self, user_id: UUID) -> None:
        """Drop what is known to be of this user."""
        self._sorted.difference_update(self._lines.pop(user_id, ()))

    def clear(self) -> None:
        """Drop everything."""
        self._unknown.clear()
        self._lines.clear()
        self._sorted.clear()
