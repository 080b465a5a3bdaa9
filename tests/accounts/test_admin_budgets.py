"""Setting the budget of an API key in the admin site while its runs use it."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection, transaction
from django.test import Client

from accounts import keys
from accounts.models import ApiKey, Role, User
from core.units import CREDIT
from tests import make
from tests.executions.conftest import eventually


def test_a_budget_that_was_taken_since_its_form_was_checked_stays_as_it_was(owner: User) -> None:
    key, _ = keys.create_key(owner, "program", [], max_credits=10)
    operator = Client()
    operator.force_login(make.a_user(role=Role.ADMIN))

    def lower() -> str:
        try:
            page = f"/admin/accounts/apikey/{key.pk}/change/"
            return operator.post(page, {"max_credits": "5"}, follow=True).content.decode()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            ApiKey.objects.update(credits_taken=7 * CREDIT)
            answer = pool.submit(lower)
            eventually(_somebody_waits)
        shown = answer.result()
    assert "The budget is as it was: The runs of this API key have used or set aside 7 credits" in shown
    assert "was changed successfully" not in shown
    key.refresh_from_db()
    assert (key.max_credits, key.credits_taken) == (10, 7 * CREDIT)


def _somebody_waits() -> bool:
    """Whether somebody waits for what this transaction has locked."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))")
        return cursor.fetchone() is not None
