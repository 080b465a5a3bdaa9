"""How activations come to wait: for a time, for an answer, or for their next attempt."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from executions.engine.answers import Question
from executions.engine.beside import Beside
from executions.engine.emissions import explain, seconds_of
from executions.engine.journal import Journal
from executions.engine.rows import Claim
from executions.engine.state import Activation
from executions.engine.waits import Wait, Waits, outputs_before
from graphs.blocks.base import AskForReview, BlockError, CallGraph, Sleep, Suspension, TryLater
from graphs.policy import DAY, OnUnknown


class Suspender:
    """Lets the activations of one run wait, or fail where their policies leave nothing to wait for."""

    def __init__(
        self, claim: Claim, journal: Journal, waits: Waits, beside: Beside, now: Callable[[], datetime]
    ) -> None:
        self._claim = claim
        self._journal = journal
        self._waits = waits
        self._beside = beside
        self._now = now

    def suspend(self, activation: Activation, suspension: Suspension) -> None:
        """Let the activation wait for what its block asked for; of a dry run no pause takes any time."""
        if isinstance(suspension, Sleep):
            seconds = 0.0 if self._claim.is_dry_run else suspension.seconds
            self._pause(activation, seconds, outputs=activation.output_count)
        else:
            self.ask(activation, suspension)

    def ask(self, activation: Activation, question: Question, **marks: Any) -> None:
        """Ask something outside of the run; `marks` go with the wait, which begins once it has been asked."""
        self._journal.tell(activation)
        if self._journal.meter is not None and isinstance(question, CallGraph):
            self._journal.meter.call()
        self._beside.ask(activation, question, **marks)

    def wait(self, activation: Activation, wait: Wait) -> None:
        """Let the activation wait from now on, and have that committed with what the driver does next."""
        self._waits.add(activation, wait)
        self._journal.tell(activation)

    def retry_or_fail(self, activation: Activation, error: BaseException) -> None:
        """Wait for the next attempt if the node's policy has one left; the outputs so far stay given."""
        pause = activation.node.policy.retry.pause_after(activation.attempt)
        if pause is None:
            self._journal.fail(activation, error)
            return
        asked = min(DAY, seconds_of(error)) if isinstance(error, TryLater) else 0.0
        self._pause(activation, max(pause, asked), retry=explain(error), outputs=outputs_before(activation))

    def decide_unknown(self, activation: Activation, why: str) -> None:
        """Nobody knows whether the activation had its effect, which must not happen twice: its policy decides."""
        before = outputs_before(activation)
        match activation.node.policy.on_unknown:
            case OnUnknown.RERUN:
                self._pause(activation, 0.0, retry=why, outputs=before)
            case OnUnknown.REVIEW:
                instructions = f"{why}. Whether it took effect is unknown: shall it run again with this input?"
                question = AskForReview(activation.input_data, instructions, editable=False)
                self.ask(activation, question, retry=why, outputs=before)
            case OnUnknown.FAIL:
                self.refuse_rerun(activation, why)

    def refuse_rerun(self, activation: Activation, why: str) -> None:
        """The activation fails, for it may have had its effect."""
        unknown = f"{why}: whether it took effect is unknown, so it was not repeated"
        self._journal.fail(activation, BlockError(unknown))

    def _pause(self, activation: Activation, seconds: float, **why: Any) -> None:
        until = self._now() + timedelta(seconds=seconds)
        self.wait(activation, {"until": until.isoformat(), **why})
