"""What Prometheus is told."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from credits.models import Account, LedgerAudit
from executions.kinds import Status
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def token(settings: Settings) -> None:
    """Prometheus has one."""
    settings.METRICS_TOKEN = "prometheus"


def scraped() -> dict[tuple[str, str], float]:
    """The samples by name and rule."""
    answer = APIClient().get("/metrics", headers={"Authorization": "Bearer prometheus"})
    assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (200, "text/plain")
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, sample.labels.get("rule", "")): sample.value for family in families for sample in family.samples
    }


def test_nothing_is_late_where_nothing_runs() -> None:
    rules = ("queued", "lapsed", "due", "orphaned", "isolated", "schedules", "deliveries")
    assert scraped() == {("taskloom_overdue_seconds", rule): 0.0 for rule in rules}


def test_the_oldest_run_that_nobody_took_is_told(user: User) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    make.a_run(user, make.a_graph(user).graph_id, status=Status.QUEUED, queued_at=an_hour_ago)
    assert scraped()["taskloom_overdue_seconds", "queued"] == pytest.approx(3600, abs=10)


def test_the_last_audit_is_told(user: User, capsys: Any) -> None:
    call_command("audit_ledger")
    samples = scraped()
    assert samples["taskloom_ledger_mismatches", ""] == 0
    when = samples["taskloom_ledger_audited_timestamp_seconds", ""]
    assert when == pytest.approx(timezone.now().timestamp(), abs=10)

    Account.objects.create(user_id=user.pk, balance=5)
    with pytest.raises(CommandError, match="2 mismatches"):
        call_command("audit_ledger", "--days", "1")
    assert scraped()["taskloom_ledger_mismatches", ""] == 2
    last = LedgerAudit.objects.order_by("-pk")[0]
    assert (last.accounts, last.problems[0]) == (1, "All accounts together hold 5 micro-credits, not 0")
    assert last.since is not None


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "prometheus"}])
def test_nobody_else_is_told(headers: dict[str, str]) -> None:
    answer = APIClient().get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert b"taskloom_" not in answer.content


def test_without_a_token_there_is_no_such_path(settings: Settings) -> None:
    settings.METRICS_TOKEN = ""
    answer = APIClient().get("/metrics", headers={"Authorization": "Bearer "})
    assert (answer.status_code, answer.json()["code"]) == (404, APIClient().get("/nothing").json()["code"])


def test_operators_see_every_audit(admin_client: Client, capsys: Any) -> None:
    call_command("audit_ledger")
    page = admin_client.get("/admin/credits/ledgeraudit/").content.decode()
    assert "1 audit" in page
    assert admin_client.get(f"/admin/credits/ledgeraudit/{LedgerAudit.objects.get().pk}/change/").status_code == 200
    assert admin_client.get("/admin/credits/ledgeraudit/add/").status_code == 403
