"""Asking a person."""

from typing import Any

from graphs.blocks.base import (
    AskForReview,
    Block,
    BlockInput,
    BlockOutput,
    Category,
    Context,
    Decision,
    Effect,
    Emissions,
    Example,
    Kind,
)
from graphs.blocks.fields import pin

UNASKED = "Nobody was asked: human_in_the_loop_safe_mode is off for this graph."


class HumanInTheLoopBlock(Block):
    """Lets a person approve, edit or reject a value before it goes on."""

    id = "8b2a7b3c-6e9d-4a5f-8c1b-2e3f4a5b6c7d"
    description = (
        "Waits until a person has looked at the data and decided, for weeks if need be; no worker waits with it. "
        "While human_in_the_loop_safe_mode is off, the data goes on as approved."
    )
    categories = frozenset({Category.BASIC})
    kind = Kind.HUMAN_IN_THE_LOOP
    # Nothing happens here: the engine asks when it records what was yielded.
    effect = Effect.PURE
    examples = (
        Example(
            {"data": {"to": "Ada", "amount": 10}, "name": "Payment"},
            (("approved_data", {"to": "Ada", "amount": 5}), ("review_message", "half is enough")),
            answers=(Decision(approved=True, data={"to": "Ada", "amount": 5}, message="half is enough"),),
        ),
        Example(
            {"data": "Dear all", "name": "Newsletter", "editable": False},
            (("rejected_data", "Dear all"),),
            answers=(Decision(approved=False, data="Dear all", message=""),),
        ),
    )

    class Input(BlockInput):
        """What to decide about."""

        data: Any = pin("What the person shall look at.")
        name: str = pin("What it is, and what to look for: the person reads it.")
        editable: bool = pin("Whether the person may change the data.", default=True)

    class Output(BlockOutput):
        """The data on the pin of the decision."""

        approved_data: Any = pin("The data as it was approved, edited or not.")
        rejected_data: Any = pin("The data, when it was rejected.")
        review_message: str = pin("What the person had to say, if anything.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Ask; once there is a decision, emit the data on its pin."""
        if not context.safe_mode:
            decision = Decision(approved=True, data=input.data, message=UNASKED)
        elif context.answers:
            decision = context.answers[0]
        else:
            yield AskForReview(input.data, input.name, input.editable)
            return
        yield "approved_data" if decision.approved else "rejected_data", decision.data
        if decision.message:
            yield "review_message", decision.message
