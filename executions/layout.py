"""Where the boxes and wires of a graph go on paper: in columns from left to right, cycles included. Pure.

The layered method of Sugiyama: wires that close a cycle are set aside, every box goes right of all that feed it,
long wires get a way point in each column they pass, and the order within the columns is improved a few times.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

BOX_WIDTH = 170.0
BOX_HEIGHT = 66.0
PORT_GAP = 18.0
COLUMN_GAP = 132.0
ROW_GAP = 26.0
LANE_GAP = 16.0
MARGIN = 24.0
# A wire that passes more columns than this is led around, as one that closes a cycle.
_MOST_COLUMNS = 30
_SWEEPS = 6

Point = tuple[float, float]


@dataclass(eq=False, slots=True)
class Box:
    """A node, or without `key` a way point of a long wire. `y` is the upper edge."""

    key: str | None
    column: int = 0
    x: float = 0.0
    y: float = 0.0
    height: float = BOX_HEIGHT
    before: list["Box"] = field(default_factory=list)
    after: list["Box"] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """Half-way down."""
        return self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Wire:
    """A link: where it starts, the points that it passes, where it ends; `goes_around` below everything else."""

    key: str
    points: tuple[Point, ...]
    goes_around: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by key, wires in the order given, and the size of the paper."""

    boxes: dict[str, Box]
    wires: list[Wire]
    width: float
    height: float


def lay_out(nodes: Sequence[str], links: Sequence[tuple[str, str, str]]) -> Layout:
    """Place `nodes`, given by key, and `links`, given as (key, source, sink)."""
    known = [link for link in links if link[1] in set(nodes) and link[2] in set(nodes)]
    boxes = {key: Box(key) for key in nodes}
    _size(boxes, known)
    forward = _without_cycles(nodes, known)
    _choose_columns(boxes, forward)
    ways = _connect(boxes, forward)
    columns = _columns([*boxes.values(), *(point for way in ways.values() for point in way)])
    _choose_order(columns)
    _choose_heights(columns)
    bottom = max((box.y + box.height for box in boxes.values()), default=0.0)
    wires, lowest = _draw_wires(boxes, known, ways, bottom)
    width = max((box.x for box in boxes.values()), default=0.0) + BOX_WIDTH + MARGIN
    has_ways_around = any(wire.goes_around for wire in wires)
    return Layout(boxes, wires, width + (MARGIN if has_ways_around else 0.0), lowest + MARGIN)


def _size(boxes: dict[str, Box], links: Iterable[tuple[str, str, str]]) -> None:
    """A box is as high as its wires on either side need."""
    leaving = dict.fromkeys(boxes, 0)
    arriving = dict.fromkeys(boxes, 0)
    for _, source, sink in links:
        leaving[source] += 1
        arriving[sink] += 1
    for key, box in boxes.items():
        box.height = max(BOX_HEIGHT, PORT_GAP * (max(leaving[key], arriving[key]) + 1))


def _without_cycles(nodes: Sequence[str], links: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The links but those that lead back to where a walk through the graph came from."""
    leaving: dict[str, list[tuple[str, str, str]]] = {}
    fed = set()
    for link in links:
        leaving.setdefault(link[1], []).append(link)
        fed.add(link[2])
    kept = []
    on_path: set[str] = set()
    done: set[str] = set()
    for start in [*(n for n in nodes if n not in fed), *nodes]:
        walk = [(start, iter(leaving.get(start, ())))] if start not in done else []
        on_path.update(node for node, _ in walk)
        while walk:
            node, rest = walk[-1]
            following = next(rest, None)
            if following is None:
                walk.pop()
                on_path.discard(node)
                done.add(node)
            elif following[2] not in on_path:
                kept.append(following)
                if following[2] not in done:
                    on_path.add(following[2])
                    walk.append((following[2], iter(leaving.get(following[2], ()))))
    return kept


def _choose_columns(boxes: dict[str, Box], links: Sequence[tuple[str, str, str]]) -> None:
    """Every box right of those that feed it, as far left as that allows."""
    feeds: dict[str, list[str]] = {}
    missing = dict.fromkeys(boxes, 0)
    for _, source, sink in links:
        feeds.setdefault(source, []).append(sink)
        missing[sink] += 1
    ready = [key for key, count in missing.items() if not count]
    while ready:
        source = ready.pop()
        for sink in feeds.get(source, ()):
            boxes[sink].column = max(boxes[sink].column, boxes[source].column + 1)
            missing[sink] -= 1
            if not missing[sink]:
                ready.append(sink)


def _connect(boxes: dict[str, Box], links: Sequence[tuple[str, str, str]]) -> dict[str, list[Box]]:
    """The way points of each wire that is led from column to column, by the link's key; they know their neighbours."""
    ways: dict[str, list[Box]] = {}
    for key, source_key, sink_key in links:
        source, sink = boxes[source_key], boxes[sink_key]
        if sink.column - source.column > _MOST_COLUMNS:
            continue
        ways[key] = [Box(None, column, height=0.0) for column in range(source.column + 1, sink.column)]
        chain = [source, *ways[key], sink]
        for left, right in pairwise(chain):
            left.after.append(right)
            right.before.append(left)
    return ways


def _columns(boxes: Iterable[Box]) -> list[list[Box]]:
    columns: dict[int, list[Box]] = {}
    for box in boxes:
        columns.setdefault(box.column, []).append(box)
        box.x = MARGIN + box.column * (BOX_WIDTH + COLUMN_GAP)
    return [columns[number] for number in sorted(columns)]


def _choose_order(columns: Sequence[list[Box]]) -> None:
    """Sort each column by where the neighbours stand, from left and from right in turn: fewer wires cross."""
    for sweep in range(_SWEEPS):
        from_left = sweep % 2 == 0
        place = {id(box): place for column in columns for place, box in enumerate(column)}
        for column in columns if from_left else columns[::-1]:
            means = {}
            for box in column:
                neighbours = box.before if from_left else box.after
                means[id(box)] = fmean(place[id(n)] for n in neighbours) if neighbours else float(place[id(box)])
            column.sort(key=lambda box: means[id(box)])
            place.update({id(box): number for number, box in enumerate(column)})


def _choose_heights(columns: Sequence[list[Box]]) -> None:
    """Move each box towards the middle of its neighbours as far as the order leaves room."""
    for column in columns:
        _stack(column, [0.0] * len(column))
    for sweep in range(_SWEEPS):
        for column in columns if sweep % 2 == 0 else columns[::-1]:
            wishes = []
            for box in column:
                neighbours = [n.middle for n in (box.before if sweep % 2 == 0 else box.after)]
                wishes.append((fmean(neighbours) if neighbours else box.middle) - box.height / 2)
            _stack(column, wishes)
    top = min((box.y for column in columns for box in column), default=0.0)
    for column in columns:
        for box in column:
            box.y += MARGIN - top


def _stack(column: Sequence[Box], wishes: Sequence[float]) -> None:
    """Put the boxes below one another, near their wishes: pushed down first, then all moved by the mean of the rest."""
    lowest = float("-inf")
    for box, wish in zip(column, wishes, strict=True):
        box.y = max(wish, lowest)
        lowest = box.y + box.height + ROW_GAP
    shift = fmean(wish - box.y for box, wish in zip(column, wishes, strict=True))
    for box in column:
        box.y += shift


def _draw_wires(
    boxes: dict[str, Box], links: Sequence[tuple[str, str, str]], ways: dict[str, list[Box]], bottom: float
) -> tuple[list[Wire], float]:
    """The wires, and how far down they reach."""
    starts = _ports(boxes, links, ways, at_source=True)
    ends = _ports(boxes, links, ways, at_source=False)
    wires = []
    for key, source_key, sink_key in links:
        source, sink = boxes[source_key], boxes[sink_key]
        start = (source.x + BOX_WIDTH, source.y + starts[key])
        end = (sink.x, sink.y + ends[key])
        if key in ways:
            passed = [point for box in ways[key] for point in ((box.x, box.y), (box.x + BOX_WIDTH, box.y))]
            wires.append(Wire(key, (start, *passed, end), goes_around=False))
        else:
            bottom += LANE_GAP
            wires.append(Wire(key, (start, (start[0], bottom), (end[0], bottom), end), goes_around=True))
    return wires, bottom


def _ports(
    boxes: dict[str, Box], links: Sequence[tuple[str, str, str]], ways: dict[str, list[Box]], *, at_source: bool
) -> dict[str, float]:
    """How far below a box's upper edge each wire meets it: in the order of what is at the other end."""
    sides: dict[str, list[tuple[float, str]]] = {}
    for key, source, sink in links:
        here, there = (source, sink) if at_source else (sink, source)
        if key not in ways:
            height = float("inf")
        elif ways[key]:
            height = ways[key][0 if at_source else -1].y
        else:
            height = boxes[there].middle
        sides.setdefault(here, []).append((height, key))
    return {
        key: boxes[here].height * (place + 1) / (len(side) + 1)
        for here, side in sides.items()
        for place, (_, key) in enumerate(sorted(side))
    }
