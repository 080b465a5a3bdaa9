"""The inbox over REST, and the mails of what is in it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from notifications.kinds import Kind
from notifications.mails import MOST_ATTEMPTS, send_due
from notifications.models import MailState, Notification
from notifications.services import notify
from tests import make
from tests.accounts.mailbox import delivered

LOW = {"balance": 1_500_000, "below": 500_000_000}
REFUND = {"amount": 1250, "transaction_key": "topup:pi_1", "is_refunded": True}


def told(user: User, key: str = "low:1", kind: Kind = Kind.LOW_BALANCE) -> Notification:
    """A notice that the user was told."""
    assert notify(user.pk, kind, key=key, data=REFUND if kind is Kind.REFUND_PROCESSED else LOW)
    return Notification.objects.get(key=key)


def states() -> dict[str, str]:
    return dict(Notification.objects.values_list("key", "mail"))


def inbox(client: APIClient, **query: Any) -> Any:
    answer = client.get("/api/notifications", query)
    assert answer.status_code == 200
    return answer.json()


# --- The inbox --------------------------------------------------------------------------------------------------


def test_a_notice_is_listed_until_and_after_it_is_read(api: APIClient, user: User) -> None:
    notice = told(user)
    assert inbox(api) == {
        "notifications": [
            {
                "id": str(notice.pk),
                "type": "LOW_BALANCE",
                "title": "Your credits are running low",
                "text": "You have 1.5 credits left, fewer than 500. Runs that need more than you have wait until you "
                "have it.",
                "data": LOW,
                "created_at": notice.created_at.isoformat().replace("+00:00", "Z"),
                "read_at": None,
            }
        ],
        "unread_count": 1,
        "pagination": {
            "total_items": 1, "total_pages": 1, "current_page": 1, "page_size": 25, "next_cursor": None,
        },
    }  # fmt: skip
    assert api.post(f"/api/notifications/{notice.pk}/read").status_code == 204
    first = inbox(api)["notifications"][0]["read_at"]
    assert api.post(f"/api/notifications/{notice.pk}/read").status_code == 204
    assert inbox(api)["notifications"][0]["read_at"] == first is not None
    assert inbox(api)["unread_count"] == 0
    assert inbox(api, unread="true")["notifications"] == []


def test_the_inbox_is_read_in_pages_and_all_at_once(api: APIClient, user: User) -> None:
    for number in range(5):
        told(user, f"low:{number}")
    first = inbox(api, page_size=3)
    rest = inbox(api, page_size=3, cursor=first["pagination"]["next_cursor"])
    assert len(first["notifications"]) == 3
    ids = [each["id"] for each in first["notifications"] + rest["notifications"]]
    assert ids == [str(pk) for pk in Notification.objects.order_by("-created_at", "-pk").values_list("pk", flat=True)]
    assert api.post("/api/notifications/read").json() == {"count": 5}
    assert api.post("/api/notifications/read").json() == {"count": 0}
    assert inbox(api)["unread_count"] == 0


def test_an_inbox_is_its_owners(stranger: APIClient, anonymous: APIClient, user: User) -> None:
    notice = told(user)
    assert inbox(stranger)["notifications"] == []
    assert stranger.post("/api/notifications/read").json() == {"count": 0}
    for pk in (notice.pk, uuid4()):
        refused = stranger.post(f"/api/notifications/{pk}/read")
        assert (refused.status_code, refused.json()["code"]) == (404, "no_such_notification")
    assert anonymous.get("/api/notifications").status_code == 401
    assert anonymous.post(f"/api/notifications/{notice.pk}/read").status_code == 401
    assert anonymous.post("/api/notifications/read").status_code == 401
    assert Notification.objects.get().read_at is None


# --- Once for its key -------------------------------------------------------------------------------------------


def test_somebody_is_told_once_for_a_key_however_many_tell(transactional_db: None) -> None:
    user = make.a_user()

    def tell(_: int) -> bool:
        try:
            return notify(user.pk, Kind.LOW_BALANCE, key="low:1", data=LOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(tell, range(40))) == [False] * 39 + [True]
    assert len(delivered()) == 1
    assert delivered() == []


def test_what_did_not_happen_is_not_told(transactional_db: None) -> None:
    user = make.a_user()
    with transaction.atomic():
        told(user)
        transaction.set_rollback(True)
    assert Notification.objects.count() == 0
    assert delivered() == []


# --- Mails ------------------------------------------------------------------------------------------------------


def test_a_mail_says_what_the_inbox_says(transactional_db: None, settings: Settings) -> None:
    settings.FRONTEND_URL = "https://site.example"
    user = make.a_user("ada@example.com")
    notice = told(user)
    [message] = delivered()
    assert (message.subject, message.to) == ("Your credits are running low", ["ada@example.com"])
    assert str(message.body).startswith(notice.words.text)
    assert "https://site.example" in message.body
    assert message.message()["Message-ID"] == f"<{notice.pk}@taskloom.notifications>"
    assert states() == {"low:1": "sent"}


def test_workers_at_once_send_each_mail_once(transactional_db: None) -> None:
    users = [make.a_user() for _ in range(6)]
    for user in users:
        told(user, f"low:{user.pk}")
    mail.outbox.clear()

    def work(_: int) -> None:
        try:
            send_due()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert sorted(message.to[0] for message in mail.outbox) == sorted(user.email for user in users)
    assert set(states().values()) == {"sent"}


@pytest.mark.django_db
def test_who_does_not_want_mails_or_cannot_get_them_gets_none(client_of: Callable[[User], APIClient]) -> None:
    proud = make.a_user()
    body = {"email": proud.email, "preferences": {"LOW_BALANCE": False}, "daily_limit": 3}
    assert client_of(proud).post("/api/auth/user/preferences", body, format="json").status_code == 200
    unproven, gone = make.a_user(email_verified=False), make.a_user(is_active=False)
    for user in (proud, unproven, gone):
        told(user, f"low:{user.pk}")
        told(user, f"refund:{user.pk}", Kind.REFUND_PROCESSED)
    mail.outbox.clear()
    assert send_due() == 6
    # Nobody chooses whether to hear of their money.
    assert [(message.to, message.subject) for message in mail.outbox] == [([proud.email], "Your refund was sent")]
    assert set(states().values()) == {"skipped", "sent"}
    assert len(inbox(client_of(proud))["notifications"]) == 2


@pytest.mark.django_db
def test_beyond_the_daily_limit_mails_wait_for_the_next_day_unless_they_are_read(api: APIClient, user: User) -> None:
    for number in range(5):
        told(user, f"low:{number}")
    refund = told(user, "refund:1", Kind.REFUND_PROCESSED)
    mail.outbox.clear()
    now = timezone.now()
    assert send_due(now) == 6
    assert sorted(states().values()) == ["due", "due", "sent", "sent", "sent", "sent"]
    assert states()[refund.key] == "sent"
    assert api.get("/api/auth/user/preferences").json()["emails_sent_today"] == 3
    assert send_due(now) == 0
    read = Notification.objects.filter(mail=MailState.DUE).first()
    assert read is not None
    assert api.post(f"/api/notifications/{read.pk}/read").status_code == 204
    assert send_due(now + timedelta(days=1)) == 2
    assert states()[read.key] == "skipped"
    assert sorted(states().values()) == ["sent"] * 5 + ["skipped"]
    assert len(mail.outbox) == 5


def test_while_the_mail_server_is_away_mails_are_tried_again(
    transactional_db: None, settings: Settings, client: Any
) -> None:
    user = make.a_user()
    notice, other = told(user), told(user, "low:2")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    now = timezone.now()
    assert send_due(now) == 1
    notice.refresh_from_db()
    assert (notice.mail, notice.attempts, notice.due_at) == ("due", 1, now + timedelta(seconds=30))
    Notification.objects.filter(pk=other.pk).update(mail=MailState.SENT)
    for _ in range(MOST_ATTEMPTS - 1):
        assert send_due(now) == 0
        now = Notification.objects.get(pk=notice.pk).due_at
        assert send_due(now) == 1
    assert states()[notice.key] == "failed"
    assert now - timezone.now() < timedelta(days=2)

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    client.force_login(make.a_user(role=Role.ADMIN))
    listed = client.get("/admin/notifications/notification/", {"q": user.email, "mail": "failed"}).content.decode()
    assert "Your credits are running low" in listed
    again = {"action": "send_again", "_selected_action": [str(notice.pk), str(other.pk)]}
    assert (
        "1 mails will be sent" in client.post("/admin/notifications/notification/", again, follow=True).content.decode()
    )
    assert len(delivered()) == 1
    assert states() == {"low:1": "sent", "low:2": "sent"}


@pytest.mark.parametrize(
    ("kind", "data", "title", "text"),
    [
        (Kind.ZERO_BALANCE, {"run_id": "r", "graph_id": "g", "needed": 2_000_000}, "A run waits for credits",
         "Run r of graph g needs 2 credits to go on. "
         "It has kept what it did, and goes on by itself when you have them."),
        (Kind.ZERO_BALANCE, {"schedule_id": "s", "graph_id": "g"}, "A schedule paused for want of credits",
         "Schedule s of graph g could not start its run and has paused. Resume it when you have credits."),
        (Kind.ZERO_BALANCE, {"preset_id": "p", "graph_id": "g"}, "An event could not run a graph for want of credits",
         "Preset p of graph g could not start its run, and does not start any until you have credits."),
        (Kind.REFUND_PROCESSED, REFUND, "Your refund was sent",
         "12.50 USD of topup:pi_1 went back to where they came from."),
        (Kind.REFUND_PROCESSED, {**REFUND, "is_refunded": False, "result": "Used up"}, "Your refund was not granted",
         "12.50 USD of topup:pi_1 were not refunded: Used up"),
    ],
)  # fmt: skip
@pytest.mark.django_db
def test_each_kind_has_its_words(
    api: APIClient, user: User, kind: Kind, data: dict[str, Any], title: str, text: str
) -> None:
    assert notify(user.pk, kind, key="one", data=data)
    [notice] = inbox(api)["notifications"]
    assert (notice["type"], notice["title"], notice["text"]) == (kind.value, title, text)
