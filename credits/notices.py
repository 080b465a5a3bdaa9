"""What people are told about their credits.

Triggers tell of low balances and of runs that wait, in the statements that make it so.
"""

from uuid import UUID

from django.db import connection

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


def tell_refused_schedule(user_id: UUID, graph_id: UUID, schedule_id: UUID) -> None:
    """Tell a user that a schedule has paused for want of credits, part of the transaction that pauses it.

    Once for the graph until the next top-up or grant, together with what is told of its runs that wait.
    """
    _tell_of_nothing_left(user_id, graph_id, {"schedule_id": str(schedule_id)})


def tell_refused_preset(user_id: UUID, graph_id: UUID, preset_id: UUID) -> None:
    """Tell a user that an event could not run a preset for want of credits, part of the transaction that notes it.

    As often as `tell_refused_schedule`.
    """
    _tell_of_nothing_left(user_id, graph_id, {"preset_id": str(preset_id)})


def _tell_of_nothing_left(user_id: UUID, graph_id: UUID, data: dict[str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT credits_episode(%s)", [user_id])
        [episode] = cursor.fetchone()
    notify(
        user_id,
        Kind.ZERO_BALANCE,
        key=f"zero_balance:{user_id}:{graph_id}:{episode}",
        data={"graph_id": str(graph_id), **data},
    )
