"""The block SDK: what a block is, and how one is declared.

A block is a class with an id, pydantic `Input` and `Output` models and a `run` method that yields (pin, value)
pairs. It sees values only: never a model, a setting or another block. See docs/blocks.md for a tour.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Category(StrEnum):
    """Where the editor's menu shows a block."""

    AI = "AI"
    SOCIAL = "SOCIAL"
    TEXT = "TEXT"
    SEARCH = "SEARCH"
    BASIC = "BASIC"
    INPUT = "INPUT"
    OUTPUT = "OUTPUT"
    LOGIC = "LOGIC"
    COMMUNICATION = "COMMUNICATION"
    DEVELOPER_TOOLS = "DEVELOPER_TOOLS"
    DATA = "DATA"
    HARDWARE = "HARDWARE"
    AGENT = "AGENT"
    CRM = "CRM"
    SAFETY = "SAFETY"
    PRODUCTIVITY = "PRODUCTIVITY"
    ISSUE_TRACKING = "ISSUE_TRACKING"
    MULTIMEDIA = "MULTIMEDIA"
    MARKETING = "MARKETING"


class Kind(StrEnum):
    """What part a block plays in a graph; the catalogue calls it `uiType`."""

    STANDARD = "Standard"
    INPUT = "Input"
    OUTPUT = "Output"
    NOTE = "Note"
    WEBHOOK = "Webhook"
    WEBHOOK_MANUAL = "Webhook (manual)"
    AGENT = "Agent"
    AI = "AI"
    AYRSHARE = "Ayrshare"
    HUMAN_IN_THE_LOOP = "Human In The Loop"

    @property
    def is_trigger(self) -> bool:
        """Whether events from outside start a run with such a block; they come in on its pin `payload`."""
        return self in (Kind.WEBHOOK, Kind.WEBHOOK_MANUAL)


class Effect(StrEnum):
    """What running a block does to the world, which decides how the engine recovers it after a crash.

    PURE        computes: run again freely, no intent is recorded first
    READ        looks at the world: run again
    KEYED       the far side takes `Context.key` as idempotency key: run again with the same key
    VERIFIABLE  the far side can be asked by `Block.was_done` whether it happened: run again if it did not
    UNSAFE      running twice does harm: the outcome after a crash is unknown
    """

    PURE = "pure"
    READ = "read"
    KEYED = "keyed"
    VERIFIABLE = "verifiable"
    UNSAFE = "unsafe"

    @property
    def is_repeatable(self) -> bool:
        """Whether a block may simply be run again when nobody knows how far it came."""
        return self not in (Effect.VERIFIABLE, Effect.UNSAFE)


class BlockInput(BaseModel):
    """Base of every block's inputs: unknown pins are ignored, linked names are kept as they are."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)


class BlockOutput(BaseModel):
    """Base of a standard block's outputs: each can fail, so each has `error`."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    error: str = ""


class CredentialsPlaceholder(BaseModel):
    """Which of a user's credentials a pin means; only pins named `credentials` or `*_credentials` hold one."""

    id: str
    provider: str
    type: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Yielded by a block that wants to go on after `seconds`; the worker is free meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CallGraph:
    """Yielded by a block that wants another graph run; its answer is a `ChildResult`."""

    graph_id: UUID
    graph_version: int
    inputs: Mapping[str, Any]
    nodes_input_masks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a called graph's run ended: its outputs as (name, value) pairs in order, or what went wrong."""

    run_id: UUID
    status: str
    outputs: tuple[tuple[str, Any], ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class AskForReview:
    """Yielded by a block that wants a person to look at `data` and decide; its answer is a `Decision`.

    `instructions` tell the person what to look for. Unless `editable`, the data can only be approved or rejected as it
    is.
    """

    data: Any
    instructions: str
    editable: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided: `data` is what they were asked about as they left it, `message` what they had to say."""

    approved: bool
    data: Any
    message: str


@dataclass(frozen=True, slots=True)
class Used:
    """Yielded by a block to say what it has used since it last said so, where that has a price: tokens of a model."""

    tokens: int = 0


Suspension = Sleep | CallGraph | AskForReview
Emission = tuple[str, Any]
Emissions = Iterator[Emission | Suspension | Used]
AsyncEmissions = AsyncIterator[Emission | Suspension | Used]


@dataclass(frozen=True, slots=True)
class Context:
    """What a block may know about the run it is part of.

    `key` is the same for every attempt at this activation: give it to services that take an idempotency key.
    `answers` holds the answers to the suspensions yielded so far. A block that suspends is run again from its
    start once the answer is there, and must skip what it already yielded: `len(answers)` tells where it stands.
    `attempts_left` is how often the node's policy will try again if this attempt fails.
    Without `safe_mode` the graph's owner wants to be asked nothing: a block that asks goes on as if they had approved.
    """

    run_id: UUID
    graph_id: UUID
    user_id: UUID
    node_id: UUID
    key: str
    attempt: int = 1
    attempts_left: int = 0
    answers: tuple[Any, ...] = ()
    time_zone: str = "UTC"
    safe_mode: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """One input of a block with the outputs it must give: documentation and test in one."""

    input: Mapping[str, Any]
    output: tuple[Emission, ...]
    answers: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """What one use costs, in credits, when `match` is a subset of the inputs; the first match counts.

    Per `run`, or once the block has run per `second` that it took, per `byte` of JSON that it gave, per `token` that it
    said it used, or per `item`, each output that it gave.
    """

    amount: int | Decimal
    per: str = "run"
    match: Mapping[str, Any] = field(default_factory=dict)


class BlockError(Exception):
    """A block could not do its work; the message goes out on its `error` pin."""


class TryLater(BlockError):
    """What the block needs is busy: where the node's policy has an attempt left, not before so many `seconds`."""

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class BadInput(BlockError):
    """A value on an input pin cannot be used; `pins` says of each pin what is wrong with it, the message all of it."""

    def __init__(self, message: str, pins: Mapping[str, str]) -> None:
        super().__init__(message)
        self.pins = pins


class BadOutput(BlockError):
    """A block yielded a pin it has not declared, or a value that the pin's type does not admit."""


class BadPath(BlockError):
    """A dynamic pin's name leads nowhere, such as a list index that is no number."""


class Block:
    """One kind of node. Subclasses declare the class variables and `run`; instances hold no state.

    `name` is the class's name unless declared. `graphs.blocks.rules` lists what a declaration must fulfil. `provider`
    is whose service it calls: a block without prices of its own costs what calls of that service do. Of a trigger it is
    who sends the events, and `webhook_type` which of their webhooks it takes.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    description: ClassVar[str]
    categories: ClassVar[frozenset[Category]]
    kind: ClassVar[Kind] = Kind.STANDARD
    effect: ClassVar[Effect]
    isolated: ClassVar[bool] = False
    static_output: ClassVar[bool] = False
    sensitive: ClassVar[bool] = False
    disabled: ClassVar[bool] = False
    prices: ClassVar[tuple[Price, ...]] = ()
    provider: ClassVar[str] = ""
    webhook_type: ClassVar[str] = ""
    contributors: ClassVar[tuple[str, ...]] = ()
    examples: ClassVar[tuple[Example, ...]]

    Input: ClassVar[type[BaseModel]]
    Output: ClassVar[type[BaseModel]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    def run(self, input: Any, context: Context) -> Emissions | AsyncEmissions:
        """Yield (pin, value) pairs; raise to end on the `error` pin. A generator or an async generator.

        A plain generator of a block that is not PURE runs in a thread; one of a PURE block runs in place and must
        therefore be quick. An `isolated` block runs in a process of its own, whatever its effect.
        """
        raise NotImplementedError

    async def was_done(self, input: Any, context: Context) -> bool | Iterable[Emission]:
        """Whether an earlier attempt at this activation had its effect, of a VERIFIABLE block whose worker was lost.

        False: not, so the block is run again. True, or what the attempt would have yielded: it had, and is over. Raise
        when the far side cannot tell: the outcome stays unknown.
        """
        raise NotImplementedError
