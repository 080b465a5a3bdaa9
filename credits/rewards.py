"""What people are given for getting to know the platform: once for each step of theirs."""

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from accounts.models import User
from credits import ledger
from credits.balances import mode
from credits.errors import KeyTaken, NoSuchStep, NoSuchUser
from credits.kinds import CREDIT, Kind, Mode
from credits.ledger import Posted, settled_balance
from credits.models import Transfer

# Credits for each step of the contract's onboarding; most only lead on to the next one.
REWARDS: Mapping[str, int] = MappingProxyType(
    {
        "WELCOME": 0,
        "USAGE_REASON": 0,
        "INTEGRATIONS": 0,
        "AGENT_CHOICE": 0,
        "AGENT_NEW_RUN": 300,
        "AGENT_INPUT": 0,
        "CONGRATS": 0,
        "VISIT_COPILOT": 500,
        "GET_RESULTS": 0,
        "MARKETPLACE_VISIT": 100,
        "MARKETPLACE_ADD_AGENT": 100,
        "MARKETPLACE_RUN_AGENT": 100,
        "BUILDER_SAVE_AGENT": 100,
        "RE_RUN_AGENT": 100,
        "SCHEDULE_AGENT": 100,
        "RUN_AGENTS": 300,
        "RUN_3_DAYS": 100,
        "TRIGGER_WEBHOOK": 100,
        "RUN_14_DAYS": 300,
        "RUN_AGENTS_100": 300,
        "BUILDER_OPEN": 0,
        "BUILDER_RUN_AGENT": 0,
    }
)


def reward(user_id: UUID, step: str) -> Posted | None:
    """Give a user what a step is worth, once however often it is asked for, and whatever it is worth by then.

    None when there is nothing to give: the step has no reward, or credits are disabled. It may be part of a larger
    transaction. Raises `NoSuchStep`, `NoSuchUser`, and `AmountInvalid` when the user can have no more.
    """
    amount = REWARDS.get(step)
    if amount is None:
        raise NoSuchStep(f"There is no step {step!r:.80}", steps=list(REWARDS))
    if not User.objects.filter(pk=user_id).exists():
        raise NoSuchUser(user_id=str(user_id))
    if not amount or mode() is Mode.DISABLED:
        return None
    key = f"REWARD-{user_id}-{step}"
    try:
        return ledger.credit(
            user_id, amount * CREDIT, kind=Kind.GRANT, key=key, reason=f"Reward: {step}", metadata={"step": step}
        )
    except KeyTaken:
        # It was worth something else at the time.
        return Posted(Transfer.objects.get(key=key).pk, settled_balance(user_id), is_new=False)
