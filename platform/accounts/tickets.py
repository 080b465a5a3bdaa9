"""Tickets: what opens a socket or stream where a token cannot be sent in a header, and must not stand in an address."""

import hashlib
import secrets
from datetime import timedelta

from django.utils import timezone

from accounts.errors import TicketRefused
from accounts.models import Ticket
from accounts.services import Session

TICKET_SECONDS = 30


def issue(session: Session) -> str:
    """A ticket for what the session's user may see, as long as the session lasts."""
    now = timezone.now()
    Ticket.objects.expired(now).filter(user=session.user).delete()
    text = secrets.token_urlsafe(32)
    Ticket.objects.create(
        digest=_digest(text),
        user=session.user,
        login_id=session.login_id,
        session_until=session.until,
        expires_at=now + timedelta(seconds=TICKET_SECONDS),
    )
    return text


def redeem(text: str) -> Session:
    """The session that a ticket stands for; the ticket is good for nothing afterwards. Raises `TicketRefused`."""
    ticket = Ticket.objects.select_related("user", "login").filter(digest=_digest(text)).first()
    if ticket is None:
        raise TicketRefused
    # Whoever deletes it has it: of two who come at once, the other finds nothing to delete.
    deleted, _ = Ticket.objects.filter(digest=ticket.digest).delete()
    has_ended = ticket.login is not None and ticket.login.ended_at is not None
    if not deleted or has_ended or not ticket.user.is_active or ticket.expires_at <= timezone.now():
        raise TicketRefused
    return Session(ticket.user, ticket.session_until, ticket.login_id)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
