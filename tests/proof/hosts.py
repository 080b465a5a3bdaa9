"""Hosts of isolated blocks in slow motion: each takes a task and does something with it only when it is told to."""

from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from core import json
from executions import node_tasks
from executions.models import NodeTask
from executions.node_tasks import Ending, Job, Part
from tests.drawing import block_id

_LAPSE = "UPDATE executions_nodetask SET lease_until = clock_timestamp() - interval '1 s' WHERE lease_until IS NOT NULL"


@dataclass
class Host:
    """Somebody who has taken a task, and how many outputs they have handed on; maybe another has taken it since."""

    job: Job
    given: int

    @property
    def is_late(self) -> bool:
        """Whether nobody waits for this host's answer: another has the task, or it has an end."""
        return not NodeTask.objects.filter(pk=self.job.id, claims=self.job.claims, ended_at=None).exists()

    def part(self, count: int) -> Part:
        """The next outputs of a block that counts; whoever is late says something else, so that it would be seen."""
        values = ["late"] * count if self.is_late else range(self.given + 1, self.given + count + 1)
        return Part(json.encode([["value", value] for value in values]), count)

    @property
    def left(self) -> int:
        """How many outputs are to come."""
        return max(0, int(json.decode(self.job.input_data)["times"]) - self.given)


class Hosts:
    """All of them, also those that were lost. `broken` says whose late answers were taken."""

    def __init__(self) -> None:
        self.known: list[Host] = []
        self.broken: list[str] = []

    def take(self) -> bool:
        """Somebody takes a task, if there is one."""
        job = node_tasks.claim(f"host-{len(self.known)}", [block_id("ProbeCountApart")])
        if job is not None:
            self.known.append(Host(job, job.output_count))
        return job is not None

    def give(self, host: Host) -> list[UUID]:
        """The block gives one output more; returns whom that concerns."""
        if not host.left:
            return []
        is_late, part = host.is_late, host.part(1)
        taken = node_tasks.hand_on(host.job, host.given, part)
        host.given += taken
        return self._heard(host, is_late=is_late) if taken else []

    def end(self, host: Host) -> list[UUID]:
        """The block gives all that is left, and ends; returns whom that concerns."""
        is_late, part = host.is_late, host.part(host.left)
        taken = node_tasks.finish(host.job, host.given, part, Ending())
        return self._heard(host, is_late=is_late) if taken else []

    def lapse(self) -> None:
        """All of them were silent for too long."""
        with connection.cursor() as cursor:
            cursor.execute(_LAPSE)

    def work_off(self) -> None:
        """Somebody else does all that is left."""
        self.lapse()
        while self.take():
            self.end(self.known[-1])

    def _heard(self, host: Host, *, is_late: bool) -> list[UUID]:
        if is_late:
            self.broken.append(f"{host.job.id}: a late answer was taken, of claim {host.job.claims}")
        return [host.job.run_id]
