"""The proofs can fail: with a guard of the engine taken away they find a graph or an order of events that shows it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from accounts.models import User
from executions import node_tasks
from executions.engine import state
from executions.engine.engine import Engine
from executions.engine.state import Activation, Output, RunState
from executions.models import NodeTask, Review
from tests.crash.test_mutants import Mutate, a_new_child_each_time, no_skip, unsafe_is_repeated, without
from tests.drawing import Drawn
from tests.proof.machine import Machine
from tests.proof.test_random_graphs import compare
from tests.proof.worker import Order

# The first are found within a few games; the others only when somebody asks for more examples.
QUICK = 2
MOST = 500
MUTANTS: dict[str, Mutate] = {
    "no fence in the commit": without("_COMMIT", "AND fence = %(fence)s AND lease_owner = %(owner)s"),
    "a lease keeps nobody out": without("_CLAIM", "lease_until < clock_timestamp()", "true"),
    "children do not wake their parent": without("_COMMIT", "WHERE p.id = %(parent)s AND", "WHERE false AND"),
    "a call without a key": a_new_child_each_time,
    "waiting values are not stored": without("_COMMIT", "rows)s -> 'tokens'", "rows)s -> 'none'"),
    "what static links left is forgotten": without("_KEPT", "WHERE run_id = %s AND", "WHERE false AND run_id = %s AND"),
    "an unsafe effect is repeated": unsafe_is_repeated,
    "consumed values stay": without("_COMMIT", "WHERE executions_token.run_id = own.id AND", "WHERE false AND"),
    "outputs that were held back are forgotten": without("_OPEN", "OR handed_on < output_count"),
}

Game = Callable[[Machine], None]


def a_decision_comes_while_its_run_parks(machine: Machine) -> None:
    """A person decides after the driver has looked, and before it commits that the run waits."""
    machine.choose(["review", "review"])
    while not Review.objects.waiting().exists():
        machine.go_on(0, 1, Order.GO)
        machine.every_promise_is_kept()
    machine.decide()


def a_node_is_tried_again(machine: Machine) -> None:
    """A node fails after two outputs, and its run parks."""
    machine.choose(["retry", "retry"])
    machine.go_on(0, 50, Order.GO)
    machine.every_promise_is_kept()


def a_host_is_late(machine: Machine) -> None:
    """A host is silent for too long, and answers after another has taken its task."""
    machine.choose(["isolated", "isolated"])
    while not NodeTask.objects.exists():
        machine.go_on(0, 1, Order.GO)
        machine.every_promise_is_kept()
    for act in ("take", "give", "lapse", "take", "end"):
        machine.host(0, act)
        machine.every_promise_is_kept()


def late_answers(patch: pytest.MonkeyPatch) -> None:
    """The answer of a host counts, whoever has its task by now."""
    patch.setattr(node_tasks, "_FINISH", node_tasks._FINISH.replace("AND claims = %(claims)s AND ended_at IS NULL", ""))


GAMES: dict[str, tuple[Game, Mutate]] = {
    "parking without looking at the wakes": (
        a_decision_comes_while_its_run_parks,
        without("_COMMIT", "(wakes <> %(wakes)s OR cancel_requested_at IS NOT NULL)", "false"),
    ),
    "stored outputs are not skipped": (a_node_is_tried_again, no_skip),
    "late answers of hosts": (a_host_is_late, late_answers),
}


def hand_on_at_once(patch: pytest.MonkeyPatch) -> None:
    """Outputs do not wait for those of earlier activations."""

    def emit(self: RunState, activation: Activation, output: Output) -> None:
        activation.output_count += 1
        activation.held.append(output)
        self._hand_on(activation)

    patch.setattr(RunState, "emit", emit)


def nothing_is_kept(patch: pytest.MonkeyPatch) -> None:
    """A static value serves once."""
    fire = state.Inbox._fire

    def fire_and_forget(self: Any, partial: Any) -> Activation:
        activation = fire(self, partial)
        self.kept = {}
        return activation

    patch.setattr(state.Inbox, "_fire", fire_and_forget)


def pairs_anyhow(patch: pytest.MonkeyPatch) -> None:
    """Each value begins a set of its own, unless the newest one lacks it."""

    def newest_without(self: Any, pin: str) -> Any:
        if not self._partials or pin in self._partials[-1].values:
            self._partials.append(state._Partial())
        return self._partials[-1]

    patch.setattr(state.Inbox, "_oldest_without", newest_without)


RULES: dict[str, Mutate] = {
    "outputs leave as they come": hand_on_at_once,
    "static values are not kept": nothing_is_kept,
    "values do not go to the oldest set": pairs_anyhow,
}


def once(bounded: settings) -> settings:
    """The first example that shows it will do, as it is."""
    return settings(
        bounded,
        max_examples=max(MOST, bounded.max_examples),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All mutants of the machine only when more examples are asked for."""
    if "guard" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("proof_examples", default=None)
        metafunc.parametrize("guard", list(MUTANTS) if wanted else list(MUTANTS)[:QUICK])


@pytest.mark.timeout(300)
def test_an_engine_without_this_guard_is_caught(
    machine: type[Machine], bounds: Callable[..., settings], monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    MUTANTS[guard](monkeypatch)
    # A promise is broken, a row cannot be written, a driver never comes back, or not each time the same of these.
    with pytest.raises((AssertionError, DatabaseError, TimeoutError, Flaky)):
        run_state_machine_as_test(machine, settings=once(bounds(MOST, stateful_step_count=40)))


@pytest.mark.parametrize("name", GAMES)
def test_a_game_shows_that_this_guard_is_needed(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    play, mutate = GAMES[name]
    play_to_the_end(machine(), play)
    mutate(monkeypatch)
    game = machine()
    with pytest.raises(AssertionError):
        play_to_the_end(game, play)


def play_to_the_end(game: Machine, play: Game) -> None:
    """Play a game, and let it come to rest."""
    try:
        play(game)
    finally:
        game.teardown()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RULES)
def test_an_engine_with_another_rule_is_caught(
    owner: User,
    engine: Engine,
    called: Drawn,
    bounds: Callable[..., settings],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    RULES[name](monkeypatch)
    # Not always the same way: the engine's threads are not Hypothesis's.
    with pytest.raises((AssertionError, Flaky)):
        compare(owner, engine, called, once(bounds(MOST)))
