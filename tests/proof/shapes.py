"""The graphs that the state machine runs, and what an undisturbed run of each gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounts.models import User
from graphs.models import Node
from tests.crash.shapes import chain, diamond, effect, isolated, loop, output, sub_agent
from tests.drawing import Drawn, draw

# Longer than any test: it passes when the test says so.
LONG = 3600
UNKNOWN = "The worker was lost while this ran: whether it took effect is unknown, so it was not repeated"


@dataclass(frozen=True)
class Shape:
    """A saved graph, the outputs that its runs may have, and how many effects one has with its children."""

    name: str
    graph: Drawn
    outputs: list[list[Any]]
    effects: int


NAMES = ("chain", "diamond", "loop", "fan", "static", "sub-agent", "timer", "retry", "review", "unsafe", "isolated")


def shapes(owner: User, log: Path) -> dict[str, Shape]:
    """All of them; their effects write their keys to `log`."""
    found = [
        Shape("chain", chain(owner, log), [["a", "a", "a"]], 5),
        Shape("diamond", diamond(owner, log), [[{"left": 7, "right": 7}]], 2),
        Shape("loop", loop(owner, log), [[5.0]], 5),
        Shape("fan", _fan(owner, log), [[0.02, 0.01, 0]], 3),
        Shape("static", _static(owner, log), [[{"tick": "t", "late": "s"}] * 2], 1),
        Shape("sub-agent", sub_agent(owner, log), [[5]], 2),
        Shape("timer", _timer(owner, log), [["tick", "tick"]], 3),
        Shape("retry", _retry(owner, log), [["v", "v", "RuntimeError: broken"]], 1),
        Shape("review", _review(owner, log), [["seen"]], 2),
        Shape("unsafe", _unsafe(owner, log), [["done"], [UNKNOWN]], 3),
        # What runs apart writes no key: nothing runs there.
        Shape("isolated", isolated(owner, log), [[1, 2, 3]], 4),
    ]
    # Nobody waits for the clock here, but who is slow elsewhere is still a little slower.
    for node in Node.objects.filter(input_default__has_key="log"):
        seconds = 0.01 if node.input_default.get("seconds", 0) > 0.05 else 0
        Node.objects.filter(pk=node.pk).update(input_default={**node.input_default, "seconds": seconds})
    return {shape.name: shape for shape in found}


def _fan(owner: User, log: Path) -> Drawn:
    """Three turns of one node, each quicker than the one before."""
    return draw(
        owner,
        {"items": ("StepThroughItems", {"items": [0.02, 0.01, 0]}), "echo": effect(log), "out": output()},
        ["items.item -> echo.seconds", "items.item -> echo.value", "echo.value -> out.value"],
    )


def _static(owner: User, log: Path) -> Drawn:
    """What is kept by a static link serves twice, with a wait between."""
    return draw(
        owner,
        {
            "timer": ("CountdownTimer", {"seconds": LONG, "repeat": 2, "input_message": "t"}),
            "late": effect(log, value="s"),
            "join": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "timer.output_message -> join.values_#_tick",
            "late.value => join.values_#_late",
            "join.dictionary -> out.value",
        ],
    )


def _timer(owner: User, log: Path) -> Drawn:
    """A wait that is over twice, between effects."""
    return draw(
        owner,
        {
            "before": effect(log, value="tick"),
            "timer": ("CountdownTimer", {"seconds": LONG, "repeat": 2}),
            "after": effect(log),
            "out": output(),
        },
        ["before.value -> timer.input_message", "timer.output_message -> after.value", "after.value -> out.value"],
    )


def _retry(owner: User, log: Path) -> Drawn:
    """A node that fails after two outputs, and is tried once more after a while."""
    graph = draw(
        owner,
        {"fails": effect(log, value="v", times=2, fail="broken"), "out": output()},
        ["fails.value -> out.value", "fails.error -> out.value"],
    )
    policy = {"retry": {"attempts": 2, "seconds": LONG, "backoff": 1}}
    Node.objects.filter(pk=graph.nodes["fails"]).update(metadata=policy)
    return graph


def _review(owner: User, log: Path) -> Drawn:
    """A question to a person, between two effects."""
    return draw(
        owner,
        {
            "before": effect(log, value="seen"),
            "ask": ("HumanInTheLoop", {"name": "Look"}),
            "after": effect(log),
            "out": output(),
        },
        ["before.value -> ask.data", "ask.approved_data -> after.value", "after.value -> out.value"],
    )


def _unsafe(owner: User, log: Path) -> Drawn:
    """Three effects that must not be repeated."""
    names = ("first", "second", "third")
    return draw(
        owner,
        {**{name: ("ProbeUnsafe", {"log": str(log), "value": "done"}) for name in names}, "out": output()},
        [
            "first.value -> second.value",
            "second.value -> third.value",
            "third.value -> out.value",
            *(f"{name}.error -> out.value" for name in names),
        ],
    )
