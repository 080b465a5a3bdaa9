"""The rows: the books, and what was bought and went back."""

from credits.models.books import Account, Adjustment, DayTotal, Fold, LowBalance, Transfer
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
    "LowBalance",
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
