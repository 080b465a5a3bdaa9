"""What people are told about refunds; of low balances a trigger tells them, `credits_tell_low_balance`."""

from uuid import UUID

from credits.models import RefundRequest, RefundStatus
from notifications.kinds import Kind
from notifications.services import notify

_ENDS = (RefundStatus.REFUNDED, RefundStatus.REJECTED, RefundStatus.FAILED)


def tell_refund(request_id: UUID) -> None:
    """Tell whoever asked for a refund what became of it, once for each end; part of the transaction that ended it."""
    request = RefundRequest.objects.select_related("top_up").filter(pk=request_id, status__in=_ENDS).first()
    if request is not None:
        notify(
            request.user_id,
            Kind.REFUND_PROCESSED,
            key=f"refund:{request.pk}:{request.status}",
            data={
                "refund_request_id": str(request.pk),
                "transaction_key": request.top_up.key,
                "amount": request.amount,
                "is_refunded": request.status == RefundStatus.REFUNDED,
                "result": request.result,
            },
        )
