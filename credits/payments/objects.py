"""What Taskloom reads of Stripe's objects, the same in answers and in events. Amounts are in cents."""

from enum import IntEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

# What ties Stripe's objects to our rows, kept in their metadata.
TOP_UP = "top_up"
REFUND_REQUEST = "refund_request"

# Ours have room for what stands before it in the books.
ObjectId = Annotated[str, Field(min_length=1, max_length=180)]
Cents = Annotated[int, Field(ge=0, le=10**12)]


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    id: ObjectId
    metadata: dict[str, str] | None = None

    def link(self, name: str) -> UUID | None:
        """The id of the row of ours that it was made for."""
        try:
            return UUID((self.metadata or {}).get(name, ""))
        except ValueError:
            return None


class Checkout(_Object):
    """A checkout session."""

    payment_status: str
    status: str | None = None
    currency: str | None = None
    amount_subtotal: Cents | None = None
    amount_total: Cents | None = None
    payment_intent: ObjectId | None = None
    url: str | None = None

    @property
    def is_paid(self) -> bool:
        """Whether nothing of it is owed any more."""
        return self.payment_status in ("paid", "no_payment_required")

    @property
    def payment_id(self) -> str:
        """What stands for the payment: the intent, or this session if there was nothing to pay."""
        return self.payment_intent or self.id


class Intent(_Object):
    """A payment intent."""

    status: str
    currency: str
    amount: Cents
    amount_received: Cents = 0


class Setup(_Object):
    """A setup intent: a check that a card can be charged later."""

    status: str


class Stage(IntEnum):
    """How far a refund or a dispute has come; it only moves up, whatever order the news comes in."""

    OPEN = 0
    TAKEN = 1
    DROPPED = 2


class Reversed(_Object):
    """Money of a payment that goes back, or may."""

    kind: ClassVar[str]
    taken: ClassVar[frozenset[str]]
    dropped: ClassVar[frozenset[str]]

    amount: Cents
    currency: str
    status: str | None = None
    payment_intent: ObjectId | None = None

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if self.status in self.dropped:
            return Stage.DROPPED
        return Stage.TAKEN if self.status in self.taken else Stage.OPEN


class Refund(Reversed):
    """Money that we give back."""

    kind: ClassVar[str] = "refund"
    taken: ClassVar[frozenset[str]] = frozenset({"succeeded"})
    dropped: ClassVar[frozenset[str]] = frozenset({"failed", "canceled"})


class Dispute(Reversed):
    """Money that a bank wants back for its customer."""

    kind: ClassVar[str] = "dispute"
    taken: ClassVar[frozenset[str]] = frozenset({"lost"})
    dropped: ClassVar[frozenset[str]] = frozenset({"won", "warning_closed", "prevented"})

    @property
    def needs_answer(self) -> bool:
        """Whether the bank waits for us."""
        return self.status in ("needs_response", "warning_needs_response")


class _EventData(BaseModel):
    object: dict[str, Any]


class Event(_Object):
    """A message that Stripe posts when something happened to an object."""

    type: Annotated[str, Field(min_length=1, max_length=100)]
    data: _EventData
