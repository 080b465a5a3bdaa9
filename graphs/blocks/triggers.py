"""Blocks that events from outside start a run with."""

from typing import Any

from graphs.blocks.base import Block, BlockInput, BlockOutput, Category, Context, Effect, Emissions, Example, Kind
from graphs.blocks.fields import pin


class GenericWebhookTriggerBlock(Block):
    """Begins a run for each JSON object that anybody posts to the address of a preset."""

    id = "8fa8c167-2002-47ce-aba8-97572fc5d387"
    description = "Runs the graph when something is posted to its address; gives the constants, then what was posted."
    categories = frozenset({Category.INPUT})
    kind = Kind.WEBHOOK_MANUAL
    effect = Effect.PURE
    provider = "generic_webhook"
    webhook_type = "plain"
    examples = (
        Example(
            {"payload": {"event": "order.paid", "id": 7}, "constants": {"shop": "Oslo"}},
            (("constants", {"shop": "Oslo"}), ("payload", {"event": "order.paid", "id": 7})),
        ),
    )

    class Input(BlockInput):
        """What was posted, and what goes with it each time."""

        payload: dict[str, Any] = pin("What was posted: it comes with the event.", default={}, hidden=True)
        constants: dict[str, Any] = pin("Values that every event comes with.", default={}, advanced=False)

    class Output(BlockOutput):
        """The same two."""

        payload: dict[str, Any] = pin("What was posted.")
        constants: dict[str, Any] = pin("The constants, before the payload.")

    def run(self, input: Input, context: Context) -> Emissions:
        """Emit both."""
        yield "constants", input.constants
        yield "payload", input.payload
