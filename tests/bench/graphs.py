"""The graphs that are run, drawn once for each user."""

from collections.abc import Callable, Mapping
from typing import Any

from accounts.models import User
from tests.drawing import Drawn, draw


class Graphs:
    """One user's graphs; `drawn` is told of each new one."""

    def __init__(self, user: User, drawn: Callable[[Drawn], None]) -> None:
        self.user = user
        self._drawn = drawn
        self._known: dict[tuple[object, ...], Drawn] = {}

    def chain(self, nodes: int) -> Drawn:
        """`nodes` calculators in a line, each adds 1."""
        return self._once(("chain", nodes), lambda: self._line("Calculator", nodes, _adding(), {"a": 1}))

    def fan(self, width: int) -> Drawn:
        """A calculator, `width` behind it, and a node that collects what these give."""

        def make() -> Drawn:
            return draw(
                self.user,
                {
                    "start": ("Calculator", {**_adding(), "a": 1}),
                    **{f"n{n}": ("Calculator", _adding()) for n in range(width)},
                    "join": ("CreateList", {}),
                },
                [f"start.result -> n{n}.a" for n in range(width)]
                + [f"n{n}.result -> join.values_$_{n}" for n in range(width)],
            )

        return self._once(("fan", width), make)

    def keyed(self, nodes: int, **first: Any) -> Drawn:
        """`nodes` blocks with an outside effect in a line, which do nothing; `first` are the first one's inputs."""
        return self._once(
            ("keyed", nodes, *first.items()),
            lambda: self._line("ProbeKeyed", nodes, {}, {"value": 1, **first}, "value", "value"),
        )

    def waiting(self, width: int, seconds: float) -> Drawn:
        """`width` nodes side by side, each of which awaits something for `seconds`."""
        turn = {"value": 1, "seconds": seconds}
        return self._once(
            ("waiting", width, seconds),
            lambda: draw(self.user, {f"n{n}": ("ProbeRead", turn) for n in range(width)}),
        )

    def items(self, count: int) -> Drawn:
        """A node that steps through a list of `count` items, and a calculator that adds 1 to each."""
        return self._once(
            ("items", count),
            lambda: draw(
                self.user,
                {"each": ("StepThroughItems", {"items": list(range(count))}), "add": ("Calculator", _adding())},
                ["each.item -> add.a"],
            ),
        )

    def stream(self, count: int, pause: float, *, apart: bool) -> Drawn:
        """A node that gives `count` values as fast as it may, and one that takes `pause` seconds for each."""
        source = "ProbeCountApart" if apart else "ProbeThread"
        return self._once(
            ("stream", count, pause, apart),
            lambda: draw(
                self.user,
                {"source": (source, {"times": count, "value": 1}), "sink": ("ProbeRead", {"seconds": pause})},
                ["source.value -> sink.value"],
            ),
        )

    def countdown(self, seconds: float) -> Drawn:
        """A node that waits without a worker."""
        return self._once(
            ("countdown", seconds), lambda: draw(self.user, {"wait": ("CountdownTimer", {"seconds": seconds})})
        )

    def paced(self, nodes: int, seconds: float, hold: str) -> Drawn:
        """A node that waits until the file `hold` is gone, and `nodes` in a line behind it that take `seconds` each."""
        return self._once(
            ("paced", hold),
            lambda: draw(
                self.user,
                {
                    "hold": ("ProbeRead", {"value": 1, "hold": hold}),
                    **{f"n{n}": ("ProbeKeyed", {"seconds": seconds}) for n in range(nodes)},
                },
                ["hold.value -> n0.value", *[f"n{n}.value -> n{n + 1}.value" for n in range(nodes - 1)]],
            ),
        )

    def _line(
        self,
        block: str,
        nodes: int,
        inputs: Mapping[str, Any],
        first: Mapping[str, Any],
        gives: str = "result",
        takes: str = "a",
    ) -> Drawn:
        drawing = {f"n{n}": (block, {**inputs, **(first if n == 0 else {})}) for n in range(nodes)}
        return draw(self.user, drawing, [f"n{n}.{gives} -> n{n + 1}.{takes}" for n in range(nodes - 1)])

    def _once(self, key: tuple[object, ...], make: Callable[[], Drawn]) -> Drawn:
        if key not in self._known:
            self._known[key] = make()
            self._drawn(self._known[key])
        return self._known[key]


def _adding() -> dict[str, object]:
    return {"operation": "Add", "b": 1}
