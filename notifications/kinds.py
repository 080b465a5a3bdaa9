"""What people are told, and in which words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a notice is about; named as on the wire, and as in `accounts.models.Notice` where people can choose."""

    LOW_BALANCE = "LOW_BALANCE"
    ZERO_BALANCE = "ZERO_BALANCE"
    REFUND_PROCESSED = "REFUND_PROCESSED"


@dataclass(frozen=True, slots=True)
class Words:
    """A notice in words."""

    title: str
    text: str


def words_of(kind: Kind, data: Mapping[str, Any]) -> Words:
    """The words of a notice of this kind; `data` is what it was made with."""
    return _WORDS[kind](data)


def _low_balance(data: Mapping[str, Any]) -> Words:
    return Words(
        "Your credits are running low",
        f"You have {_credits(data['balance'])} credits left, fewer than {_credits(data['below'])}. Runs that need more "
        "than you have wait until you have it.",
    )


def _zero_balance(data: Mapping[str, Any]) -> Words:
    if "schedule_id" in data:
        return Words(
            "A schedule paused for want of credits",
            f"Schedule {data['schedule_id']} of graph {data['graph_id']} could not start its run and has paused. "
            "Resume it when you have credits.",
        )
    if "preset_id" in data:
        return Words(
            "An event could not run a graph for want of credits",
            f"Preset {data['preset_id']} of graph {data['graph_id']} could not start its run, and does not start any "
            "until you have credits.",
        )
    return Words(
        "A run waits for credits",
        f"Run {data['run_id']} of graph {data['graph_id']} needs {_credits(data['needed'])} credits to go on. "
        "It has kept what it did, and goes on by itself when you have them.",
    )


def _refund_processed(data: Mapping[str, Any]) -> Words:
    money = f"{data['amount'] / 100:.2f} USD"
    if data["is_refunded"]:
        return Words("Your refund was sent", f"{money} of {data['transaction_key']} went back to where they came from.")
    because = f": {data['result']}" if data.get("result") else ""
    return Words("Your refund was not granted", f"{money} of {data['transaction_key']} were not refunded{because}")


_WORDS: Mapping[Kind, Callable[[Mapping[str, Any]], Words]] = {
    Kind.LOW_BALANCE: _low_balance,
    Kind.ZERO_BALANCE: _zero_balance,
    Kind.REFUND_PROCESSED: _refund_processed,
}


def _credits(micro: int) -> str:
    return f"{micro / 1_000_000:,.6f}".rstrip("0").rstrip(".")
