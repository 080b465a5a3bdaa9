"""A run drawn as SVG: its graph, and on every node how often it ran, how it ended and how long it took. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID
from xml.sax.saxutils import escape

from executions import layout
from executions.layout import BOX_WIDTH, LANE_GAP, Box, Layout, Point, Wire
from graphs.definition import GraphDefinition, LinkDefinition, NodeDefinition

TITLE_HEIGHT = 44.0
_LONGEST_TITLE = 20
_LONGEST_PIN = 12
_CORNER = 8.0
# What XML cannot hold, however it is written.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# The colour of the text and the edge, and of the ground, of a node in each state.
_COLOURS = {
    "COMPLETED": ("#1a7f37", "#e6f6ea"),
    "FAILED": ("#cf222e", "#ffebe9"),
    "RUNNING": ("#0969da", "#ddf1ff"),
    "WAITING": ("#8250df", "#f3ebff"),
    "REVIEW": ("#bf3989", "#ffeff7"),
    "QUEUED": ("#57606a", "#f6f8fa"),
    "TERMINATED": ("#953800", "#fff1e5"),
}
_NOT_RUN = ("#8c959f", "#ffffff")
_STYLE = """
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 } .name { font-size: 13px; font-weight: 600 }
.block, .pin { font-size: 10.5px; fill: #57606a } .state { font-size: 11px; font-weight: 600 }
.pin { paint-order: stroke; stroke: #ffffff; stroke-width: 3px }
.wire { fill: none; stroke: #8c959f; stroke-width: 1.4 } .static { stroke-dasharray: 5 3 }
"""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What became of a node: the state to show, how often it ran, and how many seconds that took together."""

    status: str
    times: int
    seconds: float


def draw_run(
    definition: GraphDefinition,
    states: Mapping[UUID, NodeState],
    *,
    status: str,
    seconds: float | None,
    block_name: Callable[[str], str],
) -> str:
    """The run as an SVG document. Nodes without a state did not run; `block_name` names a block by its id."""
    drawn = layout.lay_out(
        [str(node.id) for node in definition.nodes],
        [(str(link.id), str(link.source_id), str(link.sink_id)) for link in definition.links],
    )
    links = {str(link.id): link for link in definition.links}
    width, height = max(drawn.width, 360.0), drawn.height + TITLE_HEIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img">',
            f"<title>{_safe(f'{definition.name}: {status}')}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0 0 8 4 0 8z" fill="#8c959f"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" rx="10" fill="#ffffff" stroke="#d0d7de"/>',
            *_headline(definition.name, status, seconds),
            f'<g transform="translate(0 {TITLE_HEIGHT:.0f})">',
            *(_path(wire, links[wire.key]) for wire in drawn.wires),
            *(line for node in definition.nodes for line in _node(node, drawn, states, block_name)),
            *(label for wire in drawn.wires for label in _pins(wire, links[wire.key])),
            "</g>",
            "</svg>",
            "",
        ]
    )


def friendly(block_name: str) -> str:
    """A block's name for people: "FillTextTemplateBlock" is "Fill Text Template"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", block_name.removesuffix("Block"))


def title_of(node: NodeDefinition, block_name: str) -> str:
    """What to call a node: its given name, that of the input or output it is, of what it calls, or its block's."""
    return given_name(node) or friendly(block_name)


def given_name(node: NodeDefinition) -> str:
    """What whoever drew a node called it; empty if nothing."""
    given = (node.metadata.get("customized_name"), node.input_default.get("name"), node.input_default.get("agent_name"))
    return next((str(name) for name in given if name), "")


def duration(seconds: float) -> str:
    """How long something took, for people."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _headline(name: str, status: str, seconds: float | None) -> Iterator[str]:
    colour, _ = _COLOURS.get(status, _NOT_RUN)
    took = "" if seconds is None else f" · {duration(seconds)}"
    yield (
        f'<text x="24" y="30" class="title">{_safe(_short(name, 60))}'
        f'<tspan dx="12" class="state" style="fill:{colour}">{_safe(status)}{took}</tspan></text>'
    )


def _node(
    node: NodeDefinition, drawn: Layout, states: Mapping[UUID, NodeState], block_name: Callable[[str], str]
) -> Iterator[str]:
    box = drawn.boxes[str(node.id)]
    state = states.get(node.id)
    colour, ground = _COLOURS.get(state.status, _NOT_RUN) if state else _NOT_RUN
    dashes = "" if state else ' stroke-dasharray="4 3"'
    block = block_name(node.block_id)
    title = title_of(node, block)
    middle = box.middle
    yield f"<g><title>{_safe(f'{title} ({friendly(block)}): {_state_text(state)}')}</title>"
    yield (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{BOX_WIDTH:.0f}" height="{box.height:.1f}" rx="8" '
        f'fill="{ground}" stroke="{colour}" stroke-width="1.5"{dashes}/>'
    )
    if title == friendly(block):
        yield _line(box, middle - 4, "name", _short(title, _LONGEST_TITLE))
        yield _line(box, middle + 16, "state", _state_text(state), f' style="fill:{colour}"')
    else:
        yield _line(box, middle - 12, "name", _short(title, _LONGEST_TITLE))
        yield _line(box, middle + 4, "block", _short(friendly(block), _LONGEST_TITLE + 6))
        yield _line(box, middle + 22, "state", _state_text(state), f' style="fill:{colour}"')
    yield "</g>"


def _line(box: Box, y: float, kind: str, text: str, style: str = "") -> str:
    return f'<text x="{box.x + 14:.1f}" y="{y:.1f}" class="{kind}"{style}>{_safe(text)}</text>'


def _state_text(state: NodeState | None) -> str:
    if state is None:
        return "did not run"
    times = "" if state.times == 1 else f" {state.times}\N{MULTIPLICATION SIGN}"
    return f"{state.status}{times} · {duration(state.seconds)}"


def _path(wire: Wire, link: LinkDefinition) -> str:
    kind = "wire static" if link.is_static else "wire"
    line = _around(wire.points) if wire.goes_around else _along(wire.points)
    return f'<path class="{kind}" d="{line}" marker-end="url(#arrow)"/>'


def _along(points: tuple[Point, ...]) -> str:
    """From point to point, curved between the columns and straight through them."""
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        bend = (to_x - x) / 2
        parts.append(f"C{x + bend:.1f} {y:.1f} {to_x - bend:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
    return "".join(parts)


def _around(points: tuple[Point, ...]) -> str:
    """Out to the right, down, along the lane and up again, with round corners."""
    (x, y), (_, lane), _, (end_x, end_y) = points
    right, left, c = x + LANE_GAP, end_x - LANE_GAP, _CORNER
    towards = -1.0 if left < right else 1.0
    return (
        f"M{x:.1f} {y:.1f}H{right - c:.1f}q{c:.0f} 0 {c:.0f} {c:.0f}V{lane - c:.1f}"
        f"q0 {c:.0f} {towards * c:.0f} {c:.0f}H{left - towards * c:.1f}"
        f"q{towards * c:.0f} 0 {towards * c:.0f} {-c:.0f}V{end_y + c:.1f}q0 {-c:.0f} {c:.0f} {-c:.0f}H{end_x:.1f}"
    )


def _pins(wire: Wire, link: LinkDefinition) -> Iterator[str]:
    """The names of the pins beside the ends of a wire."""
    (x, y), (end_x, end_y) = wire.points[0], wire.points[-1]
    for x_at, y_at, anchor, name in (
        (x + 5, y - 4, "start", link.source_name),
        (end_x - 9, end_y - 4, "end", link.sink_name),
    ):
        yield (
            f'<text x="{x_at:.1f}" y="{y_at:.1f}" text-anchor="{anchor}" class="pin">'
            f"<title>{_safe(name)}</title>{_safe(_pin(name))}</text>"
        )


def _pin(name: str) -> str:
    """A part of a pin as in most languages, `values_#_who` as `values.who`; of a long name the end tells most."""
    text = re.sub(r"_[$#@]_", ".", name)
    return text if len(text) <= _LONGEST_PIN else f"…{text[1 - _LONGEST_PIN :]}"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _safe(text: str) -> str:
    return escape(_UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text))
