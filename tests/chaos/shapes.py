"""The graphs that run during chaos: those of the crash matrix, a stream, a retry and an unsafe effect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounts.models import User
from graphs.models import Node
from tests.crash import shapes as crash
from tests.crash.shapes import effect, output
from tests.drawing import Drawn, draw

UNKNOWN = "The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"


@dataclass(frozen=True)
class Shape:
    """A graph, the outputs that its runs may have, and how many different effects they have.

    `retries` is how often a node is tried again by its policy. The effect of an unsafe node may be missing from a run
    that gives `UNKNOWN`.
    """

    draw: Callable[[User, Path], Drawn]
    outputs: tuple[list[Any], ...]
    effects: int
    retries: int = 0


def stream(owner: User, log: Path) -> Drawn:
    """Twenty values, given slowly and passed on as they come."""
    return draw(
        owner,
        {"stream": effect(log, value="s", times=20), "pass": ("StoreValue", {}), "out": output()},
        ["stream.value -> pass.input", "pass.output -> out.value"],
    )


def retry(owner: User, log: Path) -> Drawn:
    """A node that gives two values, fails, and is tried again after a pause that is long enough to park."""
    flaky = effect(log, value="r", times=2, fail="the first time", recovers=True)
    graph = draw(owner, {"flaky": flaky, "out": output()}, ["flaky.value -> out.value"])
    Node.objects.filter(pk=graph.nodes["flaky"]).update(metadata={"retry": {"attempts": 2, "seconds": 1.2}})
    return graph


def unsafe(owner: User, log: Path) -> Drawn:
    """An effect that must not be repeated, behind one that may; its outcome may be unknown."""
    once = ("ProbeUnsafe", {"log": str(log), "seconds": 0.2})
    return draw(
        owner,
        {"before": effect(log, value="u"), "once": once, "out": output()},
        ["before.value -> once.value", "once.value -> out.value", "once.error -> out.value"],
    )


SHAPES: Mapping[str, Shape] = {
    **{name: Shape(drawing, (crash.OUTPUTS[name],), crash.EFFECTS[name]) for name, drawing in crash.SHAPES.items()},
    "stream": Shape(stream, (["s"] * 20,), 1),
    "retry": Shape(retry, (["r", "r"],), 1, retries=1),
    "unsafe": Shape(unsafe, (["u"], [UNKNOWN]), 2),
}
