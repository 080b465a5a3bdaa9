"""Tickets that open sockets and streams."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from rest_framework.test import APIClient

from accounts import services, tickets
from accounts.errors import TicketRefused
from accounts.models import Ending, Login, Role, Ticket, User
from tests import make


def with_token(anonymous: APIClient, user: User, **headers: str) -> str:
    """A ticket of the user, asked for over HTTP."""
    token = services.issue_tokens(user).access
    answer = anonymous.post("/api/auth/ticket", headers={"Authorization": f"Bearer {token}", **headers})
    assert (answer.status_code, answer.json()["expires_in"]) == (200, 30)
    return str(answer.json()["ticket"])


def test_a_ticket_stands_for_the_session_of_the_token_once(anonymous: APIClient, user: User) -> None:
    ticket = with_token(anonymous, user)
    session = tickets.redeem(ticket)
    assert (session.user, session.login_id) == (user, user.logins.get().pk)
    assert timedelta(minutes=59) < session.until - timezone.now() <= timedelta(hours=1)
    with pytest.raises(TicketRefused):
        tickets.redeem(ticket)
    assert not Ticket.objects.exists()


def test_nobody_gets_a_ticket_without_a_token(anonymous: APIClient, api: APIClient) -> None:
    assert anonymous.post("/api/auth/ticket").status_code == 401
    # Not even somebody who is known by other means.
    assert api.post("/api/auth/ticket").status_code == 401
    assert not Ticket.objects.exists()


def test_a_ticket_is_kept_as_a_hash(anonymous: APIClient, user: User) -> None:
    assert with_token(anonymous, user) not in str(Ticket.objects.values().get())


@pytest.mark.parametrize("change", ["too late", "logged out", "switched off"])
def test_a_ticket_opens_nothing_when_it_comes_too_late(anonymous: APIClient, user: User, change: str) -> None:
    ticket = with_token(anonymous, user)
    if change == "too late":
        Ticket.objects.update(expires_at=timezone.now())
    elif change == "logged out":
        Login.objects.filter(user=user).end(timezone.now(), Ending.LOGGED_OUT)
    else:
        User.objects.update(is_active=False)
    with pytest.raises(TicketRefused):
        tickets.redeem(ticket)


def test_tickets_that_were_never_used_go_with_the_next(anonymous: APIClient, user: User) -> None:
    with_token(anonymous, user)
    Ticket.objects.update(expires_at=timezone.now())
    fresh = with_token(anonymous, user)
    assert Ticket.objects.count() == 1
    assert tickets.redeem(fresh).user == user


def test_the_ticket_of_an_administrator_who_acts_as_somebody_is_that_users(anonymous: APIClient, user: User) -> None:
    admin = make.a_user(role=Role.ADMIN)
    session = tickets.redeem(with_token(anonymous, admin, **{"X-Act-As-User-Id": str(user.pk)}))
    # It ends with the login that it came of.
    assert (session.user, session.login_id) == (user, admin.logins.get().pk)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_who_come_with_one_ticket_one_is_let_in() -> None:
    user = make.a_user()
    ticket = tickets.issue(services.session_of(services.issue_tokens(user).access))

    def come(_: int) -> bool:
        try:
            return tickets.redeem(ticket).user == user
        except TicketRefused:
            return False
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(come, range(20))) == [False] * 19 + [True]
