"""What people are given for steps of theirs."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits import rewards
from credits.errors import NoSuchStep, NoSuchUser
from credits.kinds import CREDIT
from credits.ledger import settled_balance
from credits.models import Account, Transfer
from credits.rewards import REWARDS, reward
from executions.audit import audit
from tests.credits.test_commands import said
from tests.credits.test_ledger import at_once
from tests.credits.test_statements import as_json


def test_a_step_is_rewarded_once_and_everybody_sees_what_for(paid: None, user: User, api: APIClient) -> None:
    first, again = reward(user.pk, "TRIGGER_WEBHOOK"), reward(user.pk, "TRIGGER_WEBHOOK")
    assert first is not None
    assert again is not None
    assert (first.is_new, again.is_new, first.transfer_id) == (True, False, again.transfer_id)
    other = reward(user.pk, "RUN_AGENTS")
    assert other is not None
    assert other.balance == 400 * CREDIT
    key = f"REWARD-{user.pk}-TRIGGER_WEBHOOK"
    line = api.get("/api/credits/transactions").json()["transactions"][1]
    assert {name: line[name] for name in ("transaction_key", "transaction_type", "amount", "reason")} == {
        "transaction_key": key, "transaction_type": "GRANT", "amount": 100, "reason": "Reward: TRIGGER_WEBHOOK",
    }  # fmt: skip
    statement = as_json(api, f"{datetime.now(UTC):%Y-%m}")
    assert [each["transaction_key"] for each in statement["transactions"]] == [key, f"REWARD-{user.pk}-RUN_AGENTS"]
    report = audit()
    assert (report.problems, report.transfers) == ([], 2)


def test_a_reward_that_is_another_amount_by_now_is_not_given_again(
    paid: None, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward(user.pk, "RUN_AGENTS")
    monkeypatch.setattr(rewards, "REWARDS", {**REWARDS, "RUN_AGENTS": 301})
    again = reward(user.pk, "RUN_AGENTS")
    assert again is not None
    assert (again.is_new, again.balance, Transfer.objects.count()) == (False, 300 * CREDIT, 1)


def test_fifty_at_once_reward_a_step_once(a_hundred_connections: None, settings: Settings, user: User) -> None:
    settings.CREDITS = "paid"
    seen = at_once(50, lambda _: getattr(reward(user.pk, "VISIT_COPILOT"), "is_new", None))
    assert seen == {True: 1, False: 49}
    assert settled_balance(user.pk) == 500 * CREDIT


def test_what_has_no_reward_gives_nothing(paid: None, user: User, settings: Settings) -> None:
    assert reward(user.pk, "WELCOME") is None
    with pytest.raises(NoSuchStep, match="There is no step 'WON'") as refused:
        reward(user.pk, "WON")
    assert refused.value.data["steps"] == list(REWARDS)
    with pytest.raises(NoSuchUser):
        reward(uuid4(), "RUN_AGENTS")
    settings.CREDITS = "disabled"
    assert reward(user.pk, "RUN_AGENTS") is None
    assert not Transfer.objects.exists()
    assert not Account.objects.exists()


def test_the_rewards_are_those_of_the_contract() -> None:
    assert {step: amount for step, amount in REWARDS.items() if amount} == {
        "VISIT_COPILOT": 500, "AGENT_NEW_RUN": 300, "MARKETPLACE_VISIT": 100, "MARKETPLACE_ADD_AGENT": 100,
        "MARKETPLACE_RUN_AGENT": 100, "BUILDER_SAVE_AGENT": 100, "RE_RUN_AGENT": 100, "SCHEDULE_AGENT": 100,
        "TRIGGER_WEBHOOK": 100, "RUN_AGENTS": 300, "RUN_AGENTS_100": 300, "RUN_3_DAYS": 100, "RUN_14_DAYS": 300,
    }  # fmt: skip
    longest = f"REWARD-{UUID(int=0)}-{max(REWARDS, key=len)}"
    assert len(longest) <= 200
    assert len(REWARDS) == 22


def test_operators_give_rewards_on_the_command_line(paid: None, user: User, settings: Settings) -> None:
    assert said("give_reward", user.email.upper(), "RUN_3_DAYS") == f"{user.email} has 100 credits now"
    assert said("give_reward", user.email, "RUN_3_DAYS") == f"{user.email} has it already"
    assert said("give_reward", user.email, "WELCOME") == "There is no reward for WELCOME"
    for given, why in (
        ((user.email, "WON"), "There is no step 'WON'"),
        (("nobody@example.com", "RUN_3_DAYS"), "Nobody has the email nobody@example.com"),
    ):
        with pytest.raises(CommandError) as refused:
            call_command("give_reward", *given)
        assert str(refused.value).startswith(why)
    settings.CREDITS = "disabled"
    with pytest.raises(CommandError, match="Credits are disabled"):
        call_command("give_reward", user.email, "RUN_3_DAYS")
    assert (settled_balance(user.pk), Transfer.objects.count()) == (100 * CREDIT, 1)
