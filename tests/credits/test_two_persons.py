"""Many small changes of a balance by one administrator need another one, as a large one does."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Role, User
from credits.adjustments import adjust, decide
from credits.balances import balance_of
from credits.errors import NeedsAnother
from credits.kinds import CREDIT
from credits.models import Adjustment, Transfer
from tests import make


@pytest.fixture(autouse=True)
def limited(paid: None, settings: Settings) -> None:
    """An administrator moves 100 credits alone."""
    settings.ADJUSTMENT_LIMIT = 100


def change(admin: User, user: User, amount: int) -> int:
    """The balance, in credits, after a change."""
    return adjust(admin, user.pk, amount * CREDIT, reason="for the pilot")[0].balance // CREDIT


def test_small_changes_of_one_account_by_one_administrator_add_up(
    user: User, admin: User, client_of: Callable[[User], APIClient]
) -> None:
    assert [change(admin, user, 60), change(admin, user, -30)] == [60, 30]
    body = {"user_id": str(user.pk), "amount": 11, "comments": "once more"}
    refused = client_of(admin).post("/api/credits/admin/add_credits", body, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "needs_another")
    assert refused.json()["message"] == (
        "You have moved 90 credits of this account by yourself in the last 24 hours. Beyond 100 credits another "
        "administrator has to approve: the change waits for that in the admin site"
    )
    assert (balance_of(user.pk), Transfer.objects.count()) == (30 * CREDIT, 2)

    # Up to the limit, on another account, or by another administrator is not too much.
    another = make.a_user(role=Role.ADMIN)
    assert [change(admin, user, 10), change(admin, another, 100), change(another, user, 100)] == [40, 100, 140]

    # What another has approved is not what one did alone.
    wish = Adjustment.objects.get()
    assert str(wish.pk) == refused.json()["adjustment_id"]
    decide(another, wish.pk, approve=True)
    assert balance_of(user.pk) == 151 * CREDIT
    with time_machine.travel(timezone.now() + timedelta(hours=24, minutes=1)):
        assert change(admin, user, 100) == 251


def test_small_changes_at_once_do_not_slip_by_together(transactional_db: None, user: User, admin: User) -> None:
    together = Barrier(8)

    def give(_: int) -> bool:
        try:
            together.wait()
            change(admin, user, 30)
        except NeedsAnother:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(give, range(8)))
    assert (sum(given), balance_of(user.pk)) == (3, 90 * CREDIT)
    assert Adjustment.objects.count() == 5


def test_the_command_line_keeps_to_the_limit_as_well(user: User, admin: User) -> None:
    change(admin, user, 60)
    with pytest.raises(CommandError, match="another administrator has to approve") as waits:
        call_command("give_credits", user.email, "50", "--operator", admin.email, "--reason", "Prize")
    assert balance_of(user.pk) == 60 * CREDIT
    wish = Adjustment.objects.get()
    assert str(waits.value).endswith(f"as adjustment {wish.pk}")
    assert (wish.user_id, wish.amount, wish.reason, wish.asked_by) == (user.pk, 50 * CREDIT, "Prize", admin.pk)
    decide(make.a_user(role=Role.ADMIN), wish.pk, approve=True)
    assert balance_of(user.pk) == 110 * CREDIT
