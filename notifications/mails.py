"""The mails of notices: each once, when its user wants it."""

import logging
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.utils import timezone

from accounts import choices
from accounts.models import Notice, User
from notifications.models import MailState, Notification

log = logging.getLogger(__name__)

# As many at a time: beat asks again soon.
_BATCH = 100
# After the first failure it is tried again so soon, then after twice as long and so on; in all for about a day.
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=4)
MOST_ATTEMPTS = 16

_TEXT = """{text}

This is in your inbox, too: {site}
Choose there which mails you want.
"""


def send_due(now: datetime | None = None) -> int:
    """Send the mails that are due; returns how many were looked at. One that cannot be sent is tried again later."""
    now = now or timezone.now()
    count = 0
    for notification_id in list(Notification.objects.due(now).values_list("pk", flat=True)[:_BATCH]):
        count += 1
        if not _settle(notification_id, now):
            # The mail server is away: the others would wait for it in turn.
            break
    return count


def _settle(notification_id: UUID, now: datetime) -> bool:
    """Send one mail, or write down why not; returns whether the mail server takes mails."""
    with transaction.atomic():
        notice = Notification.objects.locked(notification_id)
        if notice is None or notice.mail != MailState.DUE or notice.due_at > now:
            return True
        user = User.objects.filter(pk=notice.user_id, is_active=True, email_verified=True).first()
        if user is None or not _is_wanted(notice, user):
            notice.mail = MailState.SKIPPED
        elif _is_limited(notice) and not notice.attempts and not choices.count_mail(user, now):
            # Tomorrow, unless it was read by then.
            notice.due_at = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        else:
            return _send(notice, user, now)
        notice.save()
        return True


def _is_limited(notice: Notification) -> bool:
    """Whether people choose about it: about money that went back they are told in any case."""
    return notice.kind in Notice.values


def _is_wanted(notice: Notification, user: User) -> bool:
    if not _is_limited(notice):
        return True
    has_waited = notice.due_at > notice.created_at and not notice.attempts
    return choices.wants(user, Notice(notice.kind)) and not (has_waited and notice.read_at)


def _send(notice: Notification, user: User, now: datetime) -> bool:
    words = notice.words
    text = _TEXT.format(text=words.text, site=settings.FRONTEND_URL.rstrip("/"))
    # Should a worker die before it has written down that it sent this, the next one's is the same message.
    headers = {"Message-ID": f"<{notice.pk}@taskloom.notifications>"}
    try:
        EmailMessage(words.title, text, None, [user.email], headers=headers).send()
    except OSError as error:
        notice.attempts += 1
        log.warning("The mail of %s could not be sent: %s", notice, error)
        notice.due_at = now + min(_FIRST_PAUSE * 2 ** (notice.attempts - 1), _LONGEST_PAUSE)
        notice.mail = MailState.FAILED if notice.attempts >= MOST_ATTEMPTS else MailState.DUE
        notice.save()
        return False
    notice.mail = MailState.SENT
    notice.save()
    return True
