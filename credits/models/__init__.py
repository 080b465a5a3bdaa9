"""The rows: the books, what was bought and went back, and what runs hold and blocks cost."""

from credits.models.books import Account, Adjustment, DayTotal, Fold, LedgerAudit, LowBalance, Transfer
from credits.models.metering import Hold, PriceEntry, PriceList
from credits.models.payments import (
    Customer,
    RefundRequest,
    RefundStatus,
    Reversal,
    StripeEvent,
    TopUp,
    TopUpKind,
    TopUpStatus,
    lock_payment,
)

__all__ = [
    "Account",
    "Adjustment",
    "Customer",
    "DayTotal",
    "Fold",
    "Hold",
    "LedgerAudit",
    "LowBalance",
    "PriceEntry",
    "PriceList",
    "RefundRequest",
    "RefundStatus",
    "Reversal",
    "StripeEvent",
    "TopUp",
    "TopUpKind",
    "TopUpStatus",
    "Transfer",
    "lock_payment",
]
