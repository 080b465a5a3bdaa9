"""Random graphs for the reference interpreter and the engine to run.

A graph's outcome is certain only if it does not matter which of two nodes is quicker. That is so by construction: a
pin gets values from one node only, or it is the node's only linked pin; what a static link brings to a node that has
other sources comes once. `wild` graphs keep no such rule.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.drawing import Drawing

MAX_NODES = 12
VALUES = st.sampled_from([
    0, 1, 2, 2.5, -3, "7", "x", "", True, None, [], [1, 2], [3, "y", 5], [[1], [2, 3]], {"id": 3},
    [{"id": 4}, {"id": [5]}],
])  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 2, 2.5, -3])
LISTS = st.sampled_from([[], [1, 2], [3, "y", 5], [[1], [2, 3]]])


@dataclass(frozen=True)
class Shape:
    """A block in a graph: its linkable pins and output pins with what they hold, and how to draw its constants.

    An output pin marked with * may give several values in one turn.
    """

    block: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    constants: dict[str, st.SearchStrategy[Any]] = field(default_factory=dict)
    is_static: bool = False
    is_input: bool = False


_PROBE: dict[str, Any] = {
    # How often, by the length of a list: a number might be any number.
    "inputs": {"value": "any", "times": "length"},
    "outputs": {"value": "any*", "error": "text", "value_$_0": "any*", "value_$_-1": "any*", "value_$_0_#_id": "any*"},
    "constants": {
        "times": st.sampled_from([1, 1, 2, 3, 0]),
        "fail": st.sampled_from(["", "", "", "broken"]),
        "seconds": st.sampled_from([0, 0, 0.002]),
    },
}
PROBES = [Shape(name, **_PROBE) for name in ("ProbePure", "ProbeRead", "ProbeKeyed", "ProbeThread")]
BLOCKS = [
    *PROBES,
    Shape("StoreValue", {"input": "any"}, {"output": "any"}, is_static=True),
    Shape("AgentInput", {"value": "any"}, {"result": "any"}, is_static=True, is_input=True),
    Shape(
        "Calculator",
        {"a": "number", "b": "number"},
        {"result": "number", "error": "text"},
        {"operation": st.sampled_from(["Add", "Subtract", "Multiply", "Divide"])},
    ),
    Shape(
        "Condition",
        {"value1": "any", "value2": "any"},
        {"result": "number", "yes_output": "any", "no_output": "any", "error": "text"},
        {"operator": st.sampled_from(["==", "!=", "<", ">="])},
    ),
    Shape("StepThroughItems", {"items": "list"}, {"item": "any*", "key": "number*"}),
    Shape("StepThroughItems", {}, {"item": "any*", "key": "number*"}, {"items": LISTS}),
    Shape(
        "CreateDictionary",
        {"values_#_x": "any", "values_#_y": "any", "values_@_z_$_1": "any"},
        {
            "dictionary": "dictionary",
            "dictionary_#_x": "any",
            "dictionary_@_y": "any",
            "dictionary_#_z_$_1": "any",
            "dictionary_#_x_$_0": "any",
        },
    ),
    Shape(
        "CreateList",
        {"values_$_0": "any", "values_$_2": "any", "values_$_1_#_id": "any"},
        {"list": "list*", "list_$_0": "any*", "list_$_-1": "any*", "list_$_1_@_id": "any*"},
        {"max_size": st.sampled_from([None, None, 1, 2])},
    ),
    Shape("AddToList", {"list": "list", "entry": "any"}, {"updated_list": "list", "updated_list_$_1": "any"}),
    Shape("ReverseListOrder", {"input_list": "list"}, {"reversed_list": "list", "error": "text"}),
    Shape("CountItems", {"collection": "any"}, {"count": "number"}),
    Shape(
        "CountdownTimer",
        {"input_message": "any"},
        {"output_message": "any*"},
        {"seconds": st.sampled_from([0, 0.002]), "repeat": st.sampled_from([1, 2])},
    ),
    # Which graph it calls is filled in when it is drawn.
    Shape(
        "AgentExecutor",
        {"n": "number"},
        {"more": "any*"},
        {
            "graph_version": st.just(1),
            "input_schema": st.just({"properties": {"n": {}}}),
            "output_schema": st.just({"properties": {"more": {}}}),
        },
    ),
]


@dataclass(frozen=True)
class Outlet:
    """An output pin in a sketch. `once`: it gives one value at most; `in_order`: its values have a certain order."""

    node: str
    pin: str
    holds: str
    once: bool
    in_order: bool
    is_static: bool


@dataclass
class Sketch:
    """A graph to run, with the inputs, masks and budget of the run. Nodes `in_any_order` have no certain order."""

    nodes: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, dict[str, Any]] = field(default_factory=dict)
    in_any_order: set[str] = field(default_factory=set)
    outlets: list[Outlet] = field(default_factory=list)
    pins: list[tuple[str, str]] = field(default_factory=list)

    @property
    def drawing(self) -> Drawing:
        """The nodes as `draw` wants them."""
        return self.nodes

    def add(self, block: str, constants: dict[str, Any]) -> str:
        """Add a node."""
        name = f"{block}{len(self.nodes)}"
        self.nodes[name] = (block, constants)
        return name

    def link(self, outlet: Outlet, node: str, pin: str, *, static: bool = False) -> None:
        """Add a link, unless it is there. Those from blocks that keep their value are saved as static ones."""
        text = f"{outlet.node}.{outlet.pin} {'=>' if static or outlet.is_static else '->'} {node}.{pin}"
        if not {text, text.replace("=>", "->"), text.replace("->", "=>")} & set(self.links):
            self.links.append(text)

    def offer(self, node: str, outputs: dict[str, str], *, once: bool, in_order: bool, is_static: bool) -> None:
        """Let later nodes link to this one."""
        if not in_order:
            self.in_any_order.add(node)
        for pin, holds in outputs.items():
            self.outlets.append(
                Outlet(node, pin, holds.rstrip("*"), once and not holds.endswith("*"), in_order, is_static)
            )


@st.composite
def sketches(draw: st.DrawFn, *, wild: bool = False) -> Sketch:
    """A graph of up to twelve nodes."""
    sketch = Sketch()
    for _ in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["node", "node", "node", "node", "count", "fold"]))
        if kind == "node" or not sketch.outlets:
            _add_node(draw, sketch, draw(st.sampled_from(BLOCKS)), wild=wild)
        elif kind == "count":
            _add_counter(draw, sketch)
        else:
            _add_fold(draw, sketch)
        if len(sketch.nodes) >= MAX_NODES - 3:
            break
    for _ in range(draw(st.integers(1, 2))):
        outlet = draw(st.sampled_from(sketch.outlets))
        node = sketch.add("AgentOutput", {"name": f"AgentOutput{len(sketch.nodes)}", "escape_html": False})
        sketch.link(outlet, node, "value")
        if not outlet.in_order:
            sketch.in_any_order.add(node)
    if wild:
        _add_any_links(draw, sketch)
    if draw(st.integers(0, 4)) == 0:
        node, pin = draw(st.sampled_from(sketch.pins))
        sketch.masks[node] = {pin: draw(VALUES)}
    return replace(sketch, outlets=[], pins=[])


def _add_node(draw: st.DrawFn, sketch: Sketch, shape: Shape, *, wild: bool) -> None:
    linked = [pin for pin in shape.inputs if sketch.outlets and draw(st.sampled_from([True, True, False]))]
    links = _choose_links(draw, sketch, {pin: shape.inputs[pin] for pin in linked}, wild=wild)
    constants = {name: draw(strategy) for name, strategy in shape.constants.items() if name not in links}
    of_kind = {"any": VALUES.filter(lambda value: value is not None), "number": NUMBERS, "list": LISTS, "length": LISTS}
    constants |= {
        pin: draw(of_kind[holds])
        for pin, holds in shape.inputs.items()
        if pin not in constants and (pin not in links or draw(st.booleans()))
    }
    node = sketch.add(shape.block, constants)
    if shape.is_input:
        constants["name"] = node
        sketch.inputs[node] = draw(VALUES)
    for pin, chosen in links.items():
        for outlet, static in chosen:
            sketch.link(outlet, node, pin, static=static)
    sketch.pins += [(node, pin) for pin in shape.inputs] or [(node, "items")]
    sources = [outlet for chosen in links.values() for outlet, _ in chosen]
    is_alone = len({outlet.node for outlet in sources}) <= 1
    once = not links or any(
        len(chosen) == 1 and chosen[0][0].once and not (chosen[0][1] or chosen[0][0].is_static)
        for chosen in links.values()
    )
    sketch.offer(
        node,
        shape.outputs,
        once=once and not (shape.is_input and links),
        in_order=all(outlet.in_order for outlet in sources)
        and (is_alone or all(len({outlet.node for outlet, _ in chosen}) == 1 for chosen in links.values())),
        is_static=shape.is_static,
    )


Chosen = dict[str, list[tuple[Outlet, bool]]]


def _choose_links(draw: st.DrawFn, sketch: Sketch, pins: dict[str, str], *, wild: bool) -> Chosen:
    """What feeds the pins: a node for each; or one for all, any way it likes; or any nodes, if a pin is alone."""
    if wild or len(pins) == 1:
        several = {pin: _several(draw, _holding(sketch.outlets, holds)) for pin, holds in pins.items()}
        return {pin: chosen for pin, chosen in several.items() if chosen}
    in_order = [outlet for outlet in sketch.outlets if outlet.in_order]
    if draw(st.booleans()) and in_order:
        node = draw(st.sampled_from(sorted({outlet.node for outlet in in_order})))
        own = [outlet for outlet in in_order if outlet.node == node]
        return {pin: _several(draw, _holding(own, holds)) for pin, holds in pins.items() if _holding(own, holds)}
    links: Chosen = {}
    for pin, holds in pins.items():
        usable = _holding([outlet for outlet in in_order if outlet.once or not outlet.is_static], holds)
        if usable:
            outlet = draw(st.sampled_from(usable))
            static = outlet.once and draw(st.booleans())
            links[pin] = [(outlet, static)]
            siblings = [other for other in usable if other.node == outlet.node and other.pin != outlet.pin]
            if siblings and not static and not outlet.is_static and draw(st.integers(0, 3)) == 0:
                links[pin].append((draw(st.sampled_from(siblings)), False))
    return links


def _several(draw: st.DrawFn, outlets: list[Outlet]) -> list[tuple[Outlet, bool]]:
    chosen = draw(st.lists(st.sampled_from(outlets), min_size=1, max_size=3)) if outlets else []
    return [(outlet, draw(st.booleans())) for outlet in dict.fromkeys(chosen)]


def _holding(outlets: list[Outlet], wanted: str) -> list[Outlet]:
    # The order of a dictionary's keys is nobody's promise, so nothing takes one apart.
    fitting = {"list": ("list", "number", "text"), "number": ("list", "number", "text"), "length": ("list", "text")}
    return [outlet for outlet in outlets if wanted == "any" or outlet.holds in fitting[wanted]]


def _add_any_links(draw: st.DrawFn, sketch: Sketch) -> None:
    """Up to three links from anywhere to anywhere, loops among them."""
    # A list that goes round in a loop may double each time, and no budget of activations ends that soon.
    small = [outlet for outlet in sketch.outlets if outlet.holds in ("number", "text")]
    for _ in range(draw(st.integers(0, 3)) if small else 0):
        node, pin = draw(st.sampled_from(sketch.pins))
        sketch.link(draw(st.sampled_from(small)), node, pin, static=draw(st.booleans()))


def _add_counter(draw: st.DrawFn, sketch: Sketch) -> None:
    """A loop that counts up to a limit; sometimes the limit is beyond the run's budget."""
    seed = draw(st.sampled_from(_holding(sketch.outlets, "number") or sketch.outlets))
    add = sketch.add("Calculator", {"operation": "Add", "b": 1})
    more = sketch.add("Condition", {"operator": "<", "value2": draw(st.sampled_from([0, 2, 4, 4, 1000]))})
    sketch.link(seed, add, "a")
    on = replace(seed, is_static=False, once=False, in_order=seed.in_order and seed.once)
    result, yes = (replace(on, node=node, pin=pin) for node, pin in ((add, "result"), (more, "yes_output")))
    sketch.link(result, more, "value1")
    sketch.link(yes, add, "a")
    sketch.offer(add, {"result": "number"}, once=False, in_order=on.in_order, is_static=False)
    sketch.offer(
        more, {"no_output": "number", "result": "number*"}, once=seed.once, in_order=on.in_order, is_static=False
    )
    sketch.pins += [(add, "b"), (more, "value2")]


def _add_fold(draw: st.DrawFn, sketch: Sketch) -> None:
    """A list that collects what comes, by a link from the node to itself."""
    usable = [outlet for outlet in sketch.outlets if outlet.in_order and not outlet.is_static]
    if not usable:
        return
    entries = draw(st.sampled_from(usable))
    seed = sketch.add("CreateList", {"values": draw(LISTS)})
    fold = sketch.add("AddToList", {})
    start = Outlet(seed, "list", "list", once=True, in_order=True, is_static=False)
    back = replace(entries, node=fold, pin="updated_list", is_static=False)
    sketch.link(start, fold, "list")
    sketch.link(entries, fold, "entry")
    sketch.link(back, fold, "list")
    sketch.offer(fold, {"updated_list": "list"}, once=entries.once, in_order=entries.in_order, is_static=False)
    sketch.pins.append((fold, "entry"))
