"""The healthy worker of the crash matrix, its size, and its table."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.crash.cells import ACTIONS
from tests.crash.shapes import SHAPES
from tests.crash.victims import Victims
from tests.crash.victims import victims as victims_of
from tests.waiting import wait_until
from tests.workers import worker

STAGES = (
    "ring", "claim", "fund", "intent", "effect", "output", "result", "child", "park", "finish", "release", "sweep",
    "task", "review",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only seen when this folder is named: `pytest tests/crash --full-matrix`."""
    parser.addoption("--full-matrix", action="store_true", help="every moment, every way to fail, every shape")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The full matrix is tried stage by stage; the short one at once."""
    if "stages" not in metafunc.fixturenames:
        return
    full = metafunc.config.getoption("full_matrix", default=False)
    stages: list[tuple[str, ...]] = [(stage,) for stage in STAGES] if full else [STAGES]
    actions = ACTIONS if full else ("exit",)
    shapes = tuple(SHAPES) if full else ("chain", "sub-agent", "review", "isolated")
    metafunc.parametrize("stages", stages, ids=["-".join((group[0], group[-1])) for group in stages])
    metafunc.parametrize("actions", [actions], ids=["actions"])
    metafunc.parametrize("shapes", [shapes], ids=["shapes"])


@pytest.fixture(scope="module")
def healthy(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A worker that nothing happens to, with its doorbell."""
    log = tmp_path_factory.mktemp("healthy") / "healthy.log"
    with worker(log, TASKLOOM_LEASE_SECONDS="15", TASKLOOM_SWEEP_SECONDS="1", TASKLOOM_CREDITS="paid"):
        wait_until(lambda: " ready." in log.read_text())
        yield


@pytest.fixture(scope="module")
def victims(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victims]:
    """Where the processes that fail come from."""
    with victims_of(tmp_path_factory.mktemp("victims") / "victims.log", TASKLOOM_CREDITS="paid") as found:
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Cells and violations by moment and action."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    results = [
        result for report in reports for name, value in report.user_properties if name == "cells" for result in value
    ]
    if not results:
        return
    tried = Counter((point, action) for point, action, _, _ in results)
    broken = Counter((point, action) for point, action, _, complaints in results if complaints)
    terminalreporter.section("crash matrix: cells with violations / cells")
    write = terminalreporter.write_line
    write(f"{'moment':24}" + "".join(f"{action:>10}" for action in ACTIONS))
    for point in sorted({point for point, _ in tried}):
        counts = (f"{broken[point, action]}/{tried[point, action]}" for action in ACTIONS)
        write(f"{point:24}" + "".join(f"{count:>10}" for count in counts))
    write(f"{sum(tried.values())} cells, {sum(broken.values())} with violations")
