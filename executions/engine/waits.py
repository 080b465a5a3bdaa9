"""What the activations of a run wait for: a time, or an answer from outside of the run. Pure.

An activation's `waits` list all of it, the last one open while it waits. Each is stored as JSON, with the number of
`outputs` that the block had given by then and will not yield again, and with what it had `used`, by what prices are
for: seconds, bytes of those outputs, tokens.

    {"until": time}                     a pause that the block asked for
    {"until": time, "retry": message}   a pause before the next attempt, after this failure
    {"child": id}                       the end of another run
    {"review": id}                      the decision of a person; with "gate": true, whether the block may run at all;
                                        with "retry": message, whether it may run again after this
    {"task": id}                        a turn of the block in a process of its own: its end, or more outputs than the
                                        first "taken_up" ones of the turn, so many "taken_up_bytes"
    {"credits": amount}                 so many micro-credits to pay for the block; with "funded": true, no longer
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from executions.engine.state import Activation
from executions.kinds import NodeStatus, Status

Wait = dict[str, Any]

QUESTIONS = ("child", "review", "task")
# What the block did not ask for itself.
_NO_ANSWERS = frozenset({"retry", "gate", "task", "credits"})


def outputs_before(activation: Activation) -> int:
    """How many outputs the activation had given when it last began to wait: those its block will not yield again."""
    return int(activation.waits[-1]["outputs"]) if activation.waits else 0


def turn_of(activation: Activation) -> int:
    """Which of its questions the activation asks next.

    Whoever asks it again after a crash has to find what was asked, also when the activation has had to wait for credits
    in between: so that does not count.
    """
    return sum("credits" not in wait for wait in activation.waits)


def taken_up(wait: Wait) -> int:
    """How many outputs of a turn in a process of its own were taken up when the activation last waited for more."""
    return int(wait.get("taken_up", 0))


def recall_use(activation: Activation) -> None:
    """Let the activation have used what it had when it last began to wait; what comes again is counted again."""
    wait = activation.waits[-1] if activation.waits else {}
    used = wait.get("used", {})
    activation.seconds = used.get("seconds", 0.0)
    activation.used_tokens = used.get("tokens", 0)
    activation.given_bytes = used.get("bytes", 0) + wait.get("taken_up_bytes", 0)


def go_on(activation: Activation) -> None:
    """The activation waits no more: its block runs again. Until then its row shall say that it waits."""
    activation.status = NodeStatus.RUNNING
    activation.attempt += "retry" in activation.waits[-1]
    activation.skip = activation.output_count - outputs_before(activation)
    recall_use(activation)


def _use_of(activation: Activation, outputs: int) -> dict[str, Any]:
    """What the activation has used so far, of its outputs the first ones only."""
    given_bytes = activation.given_bytes if outputs == activation.output_count else _bytes_before(activation)
    used = {"seconds": round(activation.seconds, 6), "bytes": given_bytes, "tokens": activation.used_tokens}
    return {"used": used} if any(used.values()) else {}


def _bytes_before(activation: Activation) -> int:
    return int(activation.waits[-1].get("used", {}).get("bytes", 0)) if activation.waits else 0


def is_unfunded(activation: Activation) -> bool:
    """Whether the activation waits, or waited when it was last heard of, for credits."""
    wait = activation.waits[-1] if activation.waits else {}
    return "credits" in wait and "funded" not in wait


def question_of(wait: Wait) -> str | None:
    """The id of what is asked outside, or None for a pause."""
    return next((wait[kind] for kind in QUESTIONS if kind in wait), None)


class Waits:
    """The activations of one run that wait, and the answers that came so far."""

    def __init__(self) -> None:
        self._waiting: dict[Any, Activation] = {}
        self._answers: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, activation: Activation, wait: Wait) -> None:
        """The activation begins to wait."""
        activation.waits.append({**wait, **_use_of(activation, wait["outputs"])})
        activation.status = NodeStatus.REVIEW if "review" in wait else NodeStatus.WAITING
        self._waiting[activation.id] = activation

    def await_more(self, activation: Activation, taken_up: int) -> None:
        """The activation waits again for its block that runs apart, so many of whose outputs it has taken up."""
        wait = activation.waits[-1]
        wait["taken_up"] = taken_up
        wait["taken_up_bytes"] = activation.given_bytes - _bytes_before(activation)
        self._answers.pop(wait["task"], None)
        activation.status = NodeStatus.WAITING
        self._waiting[activation.id] = activation

    def restore(self, activation: Activation) -> None:
        """An activation was waiting when its run was last driven."""
        self._waiting[activation.id] = activation

    def open_questions(self) -> list[Wait]:
        """The waits whose answer is not known."""
        return self.unanswered(self._waiting.values())

    def unanswered(self, activations: Iterable[Activation]) -> list[Wait]:
        """Everything the activations ever asked outside, unless the answer is known."""
        asked = (wait for activation in activations for wait in activation.waits if question_of(wait) is not None)
        return [wait for wait in asked if question_of(wait) not in self._answers]

    def learn(self, answers: Mapping[str, Any]) -> None:
        """Answers came, by the id of what was asked."""
        self._answers.update(answers)

    def take_over(self, now: datetime) -> list[Activation]:
        """The activations whose wait is over, which are to go on."""
        over = [activation for activation in self._waiting.values() if self._is_over(activation.waits[-1], now)]
        for activation in over:
            del self._waiting[activation.id]
        return over

    def answers_of(self, activation: Activation) -> tuple[Any, ...]:
        """The answers to what the block asked so far, in its order; None for a pause."""
        return tuple(
            self._answers.get(question_of(wait) or "") for wait in activation.waits if not _NO_ANSWERS & wait.keys()
        )

    def task_of(self, activation: Activation) -> str | None:
        """The task whose outputs the activation takes up, or None."""
        return activation.waits[-1].get("task") if activation.waits else None

    @property
    def await_tasks(self) -> bool:
        """Whether blocks are under way in processes of their own."""
        return any("task" in activation.waits[-1] for activation in self._waiting.values())

    def permission_of(self, activation: Activation) -> Any:
        """The decision whether the activation's block may run, or None when nobody was asked."""
        gates = (question_of(wait) for wait in activation.waits if "gate" in wait)
        return self._answers.get(next(gates, None) or "")

    def unfunded(self) -> list[Activation]:
        """The activations that wait for credits, in the order in which they began to."""
        return [activation for activation in self._waiting.values() if is_unfunded(activation)]

    @property
    def await_more_than_credits(self) -> bool:
        """Whether something may yet happen without more credits."""
        return len(self._waiting) > len(self.unfunded())

    def fund(self, activation: Activation) -> None:
        """The credits that the activation waits for are there."""
        activation.waits[-1]["funded"] = True

    def is_rerun_refused(self, activation: Activation) -> bool:
        """Whether a person was asked to let the block run again, and has just refused."""
        wait = activation.waits[-1]
        return "review" in wait and "retry" in wait and not self._answers[wait["review"]].approved

    def alarms(self) -> list[datetime]:
        """The times that are waited for."""
        last = (activation.waits[-1] for activation in self._waiting.values())
        return [_time(wait["until"]) for wait in last if "until" in wait]

    def parked_as(self) -> Status:
        """What a run is called that does nothing but wait."""
        asked = any("review" in activation.waits[-1] for activation in self._waiting.values())
        return Status.REVIEW if asked else Status.WAITING

    def _is_over(self, wait: Wait, now: datetime) -> bool:
        if "credits" in wait:
            return "funded" in wait
        question = question_of(wait)
        return _time(wait["until"]) <= now if question is None else question in self._answers


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
