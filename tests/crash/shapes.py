"""The graphs of the crash matrix. Each has keyed effects that write their keys to a log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from accounts.models import User
from tests.drawing import Drawn, draw


def output() -> tuple[str, dict[str, Any]]:
    """An output node."""
    return "AgentOutput", {"name": "out", "escape_html": False}


def effect(log: Path, **more: Any) -> tuple[str, dict[str, Any]]:
    """A node whose effect is keyed and takes a moment."""
    return "ProbeKeyed", {"log": str(log), "seconds": 0.05, **more}


def chain(owner: User, log: Path) -> Drawn:
    """Four nodes one after the other; the second gives three values, slowly."""
    return draw(
        owner,
        {
            "one": effect(log, value="a"),
            "two": effect(log, times=3),
            "three": effect(log),
            "out": output(),
        },
        ["one.value -> two.value", "two.value -> three.value", "three.value -> out.value"],
    )


def diamond(owner: User, log: Path) -> Drawn:
    """Two branches that meet."""
    return draw(
        owner,
        {
            "in": ("StoreValue", {"input": 7}),
            "left": effect(log, times=2, seconds=0.1),
            "right": effect(log),
            "join": ("CreateDictionary", {}),
            "out": output(),
        },
        [
            "in.output -> left.value",
            "in.output -> right.value",
            "left.value -> join.values_#_left",
            "right.value -> join.values_#_right",
            "join.dictionary -> out.value",
        ],
    )


def fan_out(owner: User, log: Path) -> Drawn:
    """Ten effects beside each other, of different lengths."""
    return draw(
        owner,
        {
            "items": ("StepThroughItems", {"items": [0.05 + 0.03 * n for n in range(10)]}),
            "echo": effect(log),
            "out": output(),
        },
        ["items.item -> echo.seconds", "items.item -> echo.value", "echo.value -> out.value"],
    )


def loop(owner: User, log: Path) -> Drawn:
    """Five turns of a loop with an effect in it."""
    return draw(
        owner,
        {
            "seed": ("StoreValue", {"input": 0}),
            "add": ("Calculator", {"operation": "Add", "b": 1}),
            "echo": effect(log),
            "more": ("Condition", {"operator": "<", "value2": 5}),
            "out": output(),
        },
        [
            "seed.output -> add.a",
            "add.result -> echo.value",
            "echo.value -> more.value1",
            "more.yes_output -> add.a",
            "more.no_output -> out.value",
        ],
    )


def sub_agent(owner: User, log: Path) -> Drawn:
    """A graph that calls another and goes on with its answer."""
    child = draw(
        owner,
        {"in": ("AgentInput", {"name": "n"}), "echo": effect(log, seconds=0.2), "out": output()},
        ["in.result -> echo.value", "echo.value -> out.value"],
        name="child",
    )
    call = {
        "graph_id": str(child.id),
        "graph_version": 1,
        "inputs": {"n": 5},
        "input_schema": {"properties": {"n": {}}},
        "output_schema": {"properties": {"out": {}}},
    }
    return draw(
        owner,
        {"call": ("AgentExecutor", call), "after": effect(log), "out": output()},
        ["call.out -> after.value", "after.value -> out.value"],
    )


def timer(owner: User, log: Path) -> Drawn:
    """A wait that is long enough to park, between two effects."""
    return draw(
        owner,
        {
            "before": effect(log, value="tick"),
            "timer": ("CountdownTimer", {"seconds": 1.2}),
            "after": effect(log),
            "out": output(),
        },
        ["before.value -> timer.input_message", "timer.output_message -> after.value", "after.value -> out.value"],
    )


def review(owner: User, log: Path) -> Drawn:
    """A question to a person, between two effects."""
    return draw(
        owner,
        {
            "before": effect(log, value="r"),
            "ask": ("HumanInTheLoop", {"name": "shall it go on?"}),
            "after": effect(log),
            "out": output(),
        },
        ["before.value -> ask.data", "ask.approved_data -> after.value", "after.value -> out.value"],
    )


def isolated(owner: User, log: Path) -> Drawn:
    """A stream from a process of its own, between two effects."""
    return draw(
        owner,
        {
            "before": effect(log, value=3),
            "apart": ("ProbeCountApart", {"log": str(log), "times": 3, "seconds": 0.12}),
            "after": effect(log),
            "out": output(),
        },
        ["before.value -> apart.value", "apart.value -> after.value", "after.value -> out.value"],
    )


SHAPES: dict[str, Callable[[User, Path], Drawn]] = {
    "chain": chain, "diamond": diamond, "fan-out": fan_out, "loop": loop, "sub-agent": sub_agent, "timer": timer,
    "review": review, "isolated": isolated,
}  # fmt: skip
OUTPUTS: dict[str, list[Any]] = {
    "chain": ["a", "a", "a"],
    "diamond": [{"left": 7, "right": 7}],
    "fan-out": [0.05 + 0.03 * n for n in range(10)],
    "loop": [5.0],
    "sub-agent": [5],
    "timer": ["tick"],
    "review": ["r"],
    "isolated": [1, 2, 3],
}
# How many effects each has in an undisturbed run.
EFFECTS = {"chain": 5, "diamond": 2, "fan-out": 10, "loop": 5, "sub-agent": 2, "timer": 2, "review": 2, "isolated": 5}
