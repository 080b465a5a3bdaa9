"""Mails to whoever operates the platform."""

from uuid import UUID

from django.conf import settings
from django.core.mail import send_mail

from accounts.models import User
from credits.models import RefundRequest, RefundStatus

_TEXT = """{who} asks for {amount:.2f} USD of {key} back:

{reason}

Approve or reject it in the admin site under Refund requests: {request_id}
"""


def write_refund_request(request_id: UUID) -> None:
    """Tell the operator, if there is an address, that a refund waits; raises `OSError`."""
    request = RefundRequest.objects.filter(pk=request_id, status=RefundStatus.WAITING).select_related("top_up").first()
    if request is None or not settings.REFUND_MAIL:
        return
    who = User.objects.filter(pk=request.user_id).values_list("email", flat=True).first() or str(request.user_id)
    text = _TEXT.format(
        who=who, amount=request.amount / 100, key=request.top_up.key, reason=request.reason, request_id=request.pk
    )
    send_mail("A refund waits for a decision", text, None, [settings.REFUND_MAIL])
