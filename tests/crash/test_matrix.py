"""The crash matrix: whatever moment a worker fails at, another ends its runs; nothing is lost, done or paid twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts.models import User
from tests.crash.cells import cells, set_prices, try_out
from tests.crash.victims import Victims


@pytest.mark.timeout(400)
def test_a_run_ends_as_if_nothing_had_happened(
    healthy: None,
    victims: Victims,
    owner: User,
    settings: Settings,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    stages: tuple[str, ...],
    actions: tuple[str, ...],
    shapes: tuple[str, ...],
) -> None:
    settings.CREDITS = "paid"
    set_prices(owner)
    results = try_out(cells(stages, actions, shapes), owner, tmp_path, victims)
    record_property("cells", [[cell.point, cell.action, cell.shape, found] for cell, found in results.items()])
    assert {cell: found for cell, found in results.items() if found} == {}
