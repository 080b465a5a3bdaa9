"""Whatever moment a web process fails at, and however, an event that came in starts one run of each preset."""

import signal
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings

from config.doctor import _webhooks
from credits import ledger
from credits.kinds import CREDIT, Kind
from executions import webhooks
from executions.webhooks import take_up_left
from integrations.models import Delivery
from tests import make
from tests.crash.cells import ACTIONS
from tests.crash.victims import Fate, Victim, Victims
from tests.executions.hooks import Hook, a_hook
from tests.waiting import wait_until

EVENTS = 3
PRESETS = 2
# In the run of the first preset of the second event, or before that of the third.
TIME = 3


@dataclass
class Trial:
    """A process that takes events in and fails."""

    moment: str
    action: str
    hook: Hook
    log: Path
    victim: Victim

    @property
    def has_failed(self) -> bool:
        return "Failpoint" in self.log.read_text()

    @property
    def answered(self) -> int:
        return self.log.read_text().count("answered 200")

    @property
    def is_settled(self) -> bool:
        return all(delivery.taken_up_at for delivery in self.hook.deliveries)


def test_events_are_neither_lost_nor_doubled(
    transactional_db: None, victims: Victims, tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CREDITS = "paid"
    monkeypatch.setattr(webhooks, "LEFT_AFTER", timedelta())
    moments = ("webhook.after_inbox", "webhook.after_start")
    trials = [a_trial(moment, action, victims, tmp_path) for moment in moments for action in ACTIONS]
    try:
        wait_until(lambda: all(trial.has_failed for trial in trials))
        wait_until(lambda: all(trial.answered == EVENTS for trial in trials if trial.action == "drop_db"))
        lost = Delivery.objects.filter(taken_up_at=None).count()
        # A process that is halted in the middle of a transaction keeps its event until it goes on or ends.
        assert take_up_left() == lost - 1
        for trial in trials:
            trial.victim.send(signal.SIGCONT)
        wait_until(lambda: all(trial.is_settled for trial in trials))
        wait_until(lambda: all(trial.answered == EVENTS for trial in trials if trial.action != "exit"))
    finally:
        for trial in trials:
            trial.victim.kill()

    assert take_up_left() == 0
    assert _webhooks().ok
    for trial in trials:
        kept = len(trial.hook.deliveries)
        assert kept >= trial.answered, trial
        assert len(trial.hook.runs) == kept * PRESETS, trial
        # Who was not answered sends again.
        for number in range(EVENTS):
            assert trial.hook.post({"number": number}, webhook_id=f"msg_{number}").status_code == 200
        assert len(trial.hook.runs) == EVENTS * PRESETS, trial


def a_trial(moment: str, action: str, victims: Victims, folder: Path) -> Trial:
    owner = make.a_user()
    ledger.credit(owner.pk, 100 * CREDIT, kind=Kind.GRANT, key=f"grant:{owner.pk}")
    hook = a_hook(owner, presets=PRESETS)
    log = folder / f"{moment}-{action}.log"
    log.touch()
    order = f"receive {hook.path} {EVENTS}"
    victim = victims.begin(Fate(order, f"{moment}={action}@{TIME}", lease_seconds=3, sweep_seconds=3600, log=str(log)))
    return Trial(moment, action, hook, log, victim)
