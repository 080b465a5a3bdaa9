"""The crash matrix: whatever moment a worker fails at, another ends its runs, and nothing is lost or done twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from accounts.models import User
from tests.crash.cells import cells, try_out


@pytest.mark.timeout(400)
def test_a_run_ends_as_if_nothing_had_happened(
    healthy: None,
    owner: User,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    stages: tuple[str, ...],
    actions: tuple[str, ...],
    shapes: tuple[str, ...],
) -> None:
    results = try_out(cells(stages, actions, shapes), owner, tmp_path)
    record_property("cells", [[cell.point, cell.action, cell.shape, found] for cell, found in results.items()])
    assert {cell: found for cell, found in results.items() if found} == {}
