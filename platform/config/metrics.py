"""What alarms look at, for Prometheus: read from the rows at each scrape, so that any web process may be asked."""

import hmac
from collections.abc import Iterator

from django.conf import settings
from django.http import Http404, HttpResponse
from drf_spectacular.utils import extend_schema
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from credits.models import LedgerAudit
from executions.overdue import RULES, overdue, unfired, unread


class FromRows(Collector):
    """How late the platform is, and whether the books were right when they were last audited."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the rows."""
        seconds = dict.fromkeys(RULES, 0.0) | {late.rule: late.seconds for late in overdue()}
        seconds["schedules"] = next(iter((unfired() or ())[1:]), 0.0)
        seconds["deliveries"] = next(iter((unread() or ())[1:]), 0.0)
        lateness = GaugeMetricFamily(
            "taskloom_overdue_seconds",
            "Since when the oldest run, schedule or delivery that this rule looks after should have been handled.",
            labels=["rule"],
        )
        for rule, late in seconds.items():
            lateness.add_metric([rule], late)
        yield lateness
        audit = LedgerAudit.objects.order_by("-pk").first()
        if audit is not None:
            for name, about, value in (
                ("mismatches", "What did not fit in the last audit of the books.", audit.mismatches),
                ("audited_timestamp_seconds", "When the books were audited last.", audit.at.timestamp()),
            ):
                yield GaugeMetricFamily(f"taskloom_ledger_{name}", about, value)


REGISTRY = CollectorRegistry()
REGISTRY.register(FromRows())


class MetricsView(APIView):
    """For Prometheus, with `TASKLOOM_METRICS_TOKEN` as its bearer token."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    throttle_classes = ()

    def get_authenticate_header(self, request: Request) -> str:
        """How to say who one is, without which a refusal would be 403."""
        return "Bearer"

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        """The metrics in Prometheus' text format; 404 where no token is set, 401 without it."""
        if not settings.METRICS_TOKEN:
            raise Http404
        expected = f"Bearer {settings.METRICS_TOKEN}"
        if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), expected.encode()):
            raise AuthenticationFailed
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
