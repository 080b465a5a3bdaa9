"""One cell of the crash matrix: a run of one shape, in a process that fails at one moment in one way."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accounts import keys
from accounts.models import ApiKey, ApiKeyPermission, User
from core import json
from credits import ledger, price_lists
from credits.kinds import CREDIT, Kind
from credits.models import PriceEntry, Transfer
from executions import services
from executions.audit import audit
from executions.failpoints import NAMES
from executions.kinds import FINAL
from executions.models import GraphExecution, NodeExecution, NodeOutput
from tests.crash.person import Person
from tests.crash.shapes import EFFECTS, OUTPUTS, SHAPES
from tests.crash.victims import Fate, Victim, Victims
from tests.drawing import Drawn, block_id
from tests.invariants import violations
from tests.waiting import wait_until

ACTIONS = ("exit", "stop", "drop_db")
AT_ONCE = 15
ATTEMPTS = 3
NEVER = "The moment never came"
# Where a moment cannot come in every shape: those in which it does.
_ONLY_IN = {"output": {"chain", "diamond"}, "park": {"sub-agent", "timer", "review"}, "child": {"sub-agent"},
            "review": {"review"},
            "fund": {"chain", "fan-out", "loop", "sub-agent"}}  # fmt: skip
_NEVER_SURE = {("release", "timer"), ("release", "review"), ("finish", "review")}


@dataclass(frozen=True)
class Cell:
    """Which moment, what happens then, and to which graph."""

    point: str
    action: str
    shape: str

    @property
    def stage(self) -> str:
        """The part of a run's life that the moment belongs to."""
        return self.point.partition(".")[0]


def cells(stages: Iterable[str], actions: Iterable[str], shapes: Iterable[str]) -> list[Cell]:
    """The cells of these stages that can occur."""
    found = [Cell(p, a, s) for p in sorted(NAMES) for a in actions for s in shapes if p.partition(".")[0] in stages]
    return [cell for cell in found if _occurs(cell)]


def _occurs(cell: Cell) -> bool:
    if (cell.stage == "task") != (cell.shape == "isolated"):
        return False
    # Whoever rings has committed and is done with Postgres; a timer's effects are too short to be interrupted surely;
    # and once a person has decided it is the healthy worker that hears of it.
    if (cell.stage, cell.action) == ("ring", "drop_db") or (cell.stage, cell.shape) in _NEVER_SURE:
        return False
    return cell.shape in _ONLY_IN.get(cell.stage, SHAPES)


class Trial:
    """A cell being tried."""

    def __init__(self, cell: Cell, owner: User, folder: Path, victims: Victims) -> None:
        self.cell = cell
        self._owner = owner
        name = "-".join((cell.point, cell.action, cell.shape))
        self._effects = folder / f"{name}.effects"
        self._effects.touch()
        self._log = folder / f"{name}.log"
        self._graph: Drawn = SHAPES[cell.shape](owner, self._effects)
        self._victims = victims
        self._victim: Victim | None = None

    def begin(self) -> None:
        """Start the run and send the process into its fate."""
        if self.cell.stage == "ring":
            self._send(f"start {self._graph.id} {self._owner.pk} {self._graph.id}")
            return
        # Those that call others share the budget of an API key besides.
        key = ApiKey.objects.filter(user=self._owner).first() if self.cell.shape == "sub-agent" else None
        run = services.start_run(
            self._graph.id,
            1,
            user_id=self._owner.pk,
            inputs={},
            trigger_key=str(self._graph.id),
            api_key_id=key.pk if key else None,
            key_has_budget=key is not None,
            ring=False,
        )
        orders = {"sweep": "sweep", "task": f"host {run.pk}"}
        self._send(orders.get(self.cell.stage, f"drive {run.pk}"))

    def interrupt(self) -> None:
        """Ask the process to let go of its run as soon as a block of it is under way."""
        if self.cell.stage == "release":
            wait_until(self._effects.read_text)
            self._signal(signal.SIGTERM)

    @property
    def has_fired(self) -> bool:
        """Whether the moment came."""
        return self._log.exists() and f"Failpoint {self.cell.point}" in self._log.read_text()

    @property
    def run(self) -> GraphExecution | None:
        """The cell's run, if it was started."""
        return GraphExecution.objects.filter(trigger_key=str(self._graph.id)).first()

    @property
    def has_ended(self) -> bool:
        """Whether the cell's run is over."""
        run = self.run
        return run is not None and run.status in FINAL

    def go_on(self) -> None:
        """Let a process that was halted find out what happened meanwhile."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process, whatever state it is in."""
        if self._victim is not None:
            self._victim.kill()

    def complaints(self) -> list[str]:
        """What is wrong with what is left."""
        if not self.has_fired:
            return [NEVER, self._log.read_text()[-2000:] if self._log.exists() else ""]
        run = self.run
        if run is None:
            return ["there is no run"]
        found = violations([run.pk])
        if run.status != "COMPLETED":
            found.append(f"{run.pk} is {run.status}: {run.error}")
        given = list(
            NodeExecution.objects.filter(run=run.pk, input_data__has_key="escape_html")
            .order_by("ordinal")
            .values_list("input_data__value", flat=True)
        )
        if given != OUTPUTS[self.cell.shape]:
            found.append(f"{run.pk} gave {given}, not {OUTPUTS[self.cell.shape]}")
        return found + list(self._complaints_about_bytes(run)) + self._complaints_about_effects()

    def _complaints_about_bytes(self, run: GraphExecution) -> Iterator[str]:
        """The audit counts outputs itself; how many bytes they have is only kept."""
        charged = Transfer.objects.filter(run_id=run.pk, metadata__per="byte")
        for node_id, quantity in charged.values_list("metadata__node_exec_id", "metadata__quantity"):
            values = NodeOutput.objects.filter(run=run.pk, node_execution=node_id).values_list("value", flat=True)
            given = sum(len(json.encode(value)) for value in values)
            if quantity != given:
                yield f"{node_id} was charged for {quantity} bytes, and gave {given}"

    def _complaints_about_effects(self) -> list[str]:
        calls = Counter(line.split()[0] for line in self._effects.read_text().splitlines())
        found = [f"{key} had its effect {count} times after one crash" for key, count in calls.items() if count > 2]
        if len(calls) != EFFECTS[self.cell.shape]:
            found.append(f"{len(calls)} distinct effects, not {EFFECTS[self.cell.shape]}")
        return found

    def _send(self, order: str) -> None:
        self._victim = self._victims.begin(
            Fate(
                order=order,
                failpoints=f"{self.cell.point}={self.cell.action}",
                # A server that processes are forked from takes a moment to load.
                lease_seconds=4 if self.cell.stage == "task" else 2,
                sweep_seconds=1 if self.cell.stage == "sweep" else 3600,
                log=str(self._log),
            )
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._victim is not None:
            self._victim.send(number)


@contextmanager
def _trials(todo: list[Cell], owner: User, folder: Path, victims: Victims) -> Iterator[list[Trial]]:
    trials = [Trial(cell, owner, folder, victims) for cell in todo]
    try:
        yield trials
    finally:
        for trial in trials:
            trial.kill()


def set_prices(owner: User) -> None:
    """Everything costs something, and the owner can pay, also with an API key that has a budget.

    What gives three values, or one from a process of its own, costs what is measured.
    """
    entries: list[tuple[str, int, str, dict[str, int]]] = [
        ("ProbeKeyed", 2, "item", {"times": 3}), ("ProbeKeyed", 2, "run", {}), ("ProbeCountApart", 3, "byte", {}),
        ("CreateDictionary", 1, "byte", {}), ("Calculator", 1, "run", {}),
    ]  # fmt: skip
    for position, (block, amount, per, match) in enumerate(entries):
        PriceEntry.objects.create(
            block=block_id(block), position=position, amount=amount * CREDIT, per=per, match=match
        )
    price_lists.publish("the crash matrix", "prices")
    ledger.credit(owner.pk, 100_000 * CREDIT, kind=Kind.GRANT, key=f"grant:crash:{owner.pk}")
    keys.create_key(owner, "crash", [ApiKeyPermission.EXECUTE_GRAPH], max_credits=100_000)


def try_out(todo: list[Cell], owner: User, folder: Path, victims: Victims) -> dict[Cell, list[str]]:
    """Try cells, a few beside each other, while a healthy worker runs; returns what is wrong, by cell.

    On a machine that is busy otherwise the healthy worker may be there first; such a cell is tried again.
    """
    results: dict[Cell, list[str]] = {}
    for attempt in range(ATTEMPTS):
        left = [cell for cell in todo if cell not in results or results[cell][:1] == [NEVER]]
        for first in range(0, len(left), AT_ONCE):
            place = folder / f"{attempt}-{first}"
            place.mkdir()
            results |= _try_together(left[first : first + AT_ONCE], owner, place, victims)
    return results


def _try_together(todo: list[Cell], owner: User, folder: Path, victims: Victims) -> dict[Cell, list[str]]:
    with _trials(todo, owner, folder, victims) as trials, Person():
        for trial in trials:
            trial.begin()
            trial.interrupt()
        _patiently(lambda: all(trial.has_fired or trial.has_ended for trial in trials))
        _patiently(lambda: all(trial.has_ended for trial in trials))
        for trial in trials:
            trial.go_on()
        if any(trial.cell.action == "stop" for trial in trials):
            # Whoever was halted writes now, if anything lets it.
            time.sleep(0.5)
    found = {trial.cell: trial.complaints() for trial in trials}
    books = audit().problems
    return {cell: complaints + books for cell, complaints in found.items()}


def _patiently(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for the condition, but not for ever: what did not happen is complained about later."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
