"""Whatever happens to runs and workers, in whatever order, every promise is kept; see machine.py."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proof.machine import Machine


@pytest.mark.timeout(600)
def test_every_promise_is_kept_in_every_order_of_events(
    machine: type[Machine], bounds: Callable[..., settings]
) -> None:
    run_state_machine_as_test(machine, settings=bounds(40, stateful_step_count=40))
