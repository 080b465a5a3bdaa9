"""What every endpoint has in common."""

import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.urls import path
from django.utils.translation import gettext_lazy
from drf_spectacular.generators import SchemaGenerator
from rest_framework.exceptions import NotFound, PermissionDenied, Throttled
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts.models import ApiKeyPermission
from config import urls
from core.api import QuickJSONRenderer
from core.errors import Conflict, DomainError, Invalid, Refused, Unavailable

FAILURES: dict[str, Exception] = {
    "invalid": Invalid("no", field="x"),
    "refused": Refused(),
    "conflict": Conflict(),
    "unavailable": Unavailable(),
    "not_found": NotFound(),
    "permission_denied": PermissionDenied(),
    "throttled": Throttled(wait=7),
    "database_unavailable": OperationalError("the secret host db.internal is away"),
    "internal_error": ZeroDivisionError("the secret is 42"),
}
STATUSES = {
    "invalid": 400,
    "refused": 403,
    "conflict": 409,
    "unavailable": 503,
    "not_found": 404,
    "permission_denied": 403,
    "throttled": 429,
    "database_unavailable": 503,
    "internal_error": 500,
}


class Failing(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request, code: str) -> Response:
        raise FAILURES[code]


def crash(request: Any) -> Any:
    raise ZeroDivisionError


class Urls:
    urlpatterns = [*urls.urlpatterns, path("failing/<str:code>", Failing.as_view()), path("crash", crash)]
    handler400, handler404, handler500 = urls.handler400, urls.handler404, urls.handler500


@pytest.fixture
def failing(settings: Any, anonymous: APIClient) -> APIClient:
    settings.ROOT_URLCONF = Urls
    return anonymous


@pytest.mark.parametrize("code", FAILURES)
def test_every_failure_has_the_one_shape(failing: APIClient, code: str) -> None:
    answer = failing.get(f"/failing/{code}")
    body = answer.json()
    assert answer.status_code == STATUSES[code]
    assert body["code"] == code
    assert body["message"] == body["detail"]
    assert body["message"]
    assert isinstance(body["hint"], str)
    assert "secret" not in answer.content.decode()


def test_an_errors_data_stands_beside_its_message(failing: APIClient) -> None:
    assert failing.get("/failing/invalid").json() == {
        "code": "invalid",
        "message": "no",
        "detail": "no",
        "hint": "",
        "field": "x",
    }


def test_only_what_nobody_anticipated_is_logged_with_a_traceback(
    failing: APIClient, caplog: pytest.LogCaptureFixture
) -> None:
    failing.get("/failing/conflict")
    assert not [record for record in caplog.records if record.exc_info]
    failing.get("/failing/internal_error")
    (logged,) = [record for record in caplog.records if record.exc_info]
    assert logged.levelno == logging.ERROR


def test_a_throttled_caller_is_told_when_to_come_back(failing: APIClient) -> None:
    assert failing.get("/failing/throttled")["Retry-After"] == "7"


def test_a_crash_outside_of_the_rest_views_has_the_one_shape_too(failing: APIClient) -> None:
    client = Client(raise_request_exception=False)
    answer = client.get("/crash")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"


def test_a_foreign_host_is_refused_in_the_one_shape(anonymous: APIClient) -> None:
    answer = anonymous.get("/api/graphs", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_request"


@pytest.mark.parametrize("name", [error.__name__ for error in DomainError.__subclasses__()])
def test_an_error_says_something_even_without_a_message(name: str) -> None:
    kind = next(error for error in DomainError.__subclasses__() if error.__name__ == name)
    assert (kind.__doc__ or "").strip()


def test_health_is_told_to_anybody(anonymous: APIClient) -> None:
    answer = anonymous.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_health_without_a_database_names_the_cure(anonymous: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def cursor(self) -> None:
            raise OperationalError("away")

    monkeypatch.setattr("config.health.connection", Away())
    answer = anonymous.get("/health")
    assert answer.status_code == 503
    assert answer.json()["code"] == "unhealthy"
    assert "DATABASE_URL" in answer.json()["hint"]


NOT_STORED = "no-store, no-cache, must-revalidate, private"


@pytest.mark.parametrize(
    ("path", "cache"),
    [("/api/graphs", NOT_STORED), ("/api/nothing", NOT_STORED), ("/", NOT_STORED), ("/health", None)],
)
def test_only_listed_paths_may_be_kept_by_a_browser(api: APIClient, path: str, cache: str | None) -> None:
    answer = api.get(path)
    assert answer.headers.get("Cache-Control") == cache
    assert answer.headers.get("Pragma") == (cache and "no-cache")


def test_every_response_carries_the_security_headers(anonymous: APIClient) -> None:
    for page in ("/health", "/api/graphs", "/api/docs/", "/nothing"):
        headers = anonymous.get(page).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-XSS-Protection"] == "1; mode=block"
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"


def test_a_shared_run_stays_out_of_search_engines(anonymous: APIClient) -> None:
    assert anonymous.get("/api/public/shared/x")["X-Robots-Tag"] == "noindex, nofollow"
    assert "X-Robots-Tag" not in anonymous.get("/api/graphs").headers


@cache
def built_schema() -> dict[str, Any]:
    generator: Any = SchemaGenerator()
    return dict(generator.get_schema(public=True))


# Their sender signs the bytes of the body, and no parser looks at it before.
READ_AS_BYTES = {"post /api/credits/stripe_webhook"}


class TestTheSchema:
    @pytest.fixture
    def schema(self) -> dict[str, Any]:
        return built_schema()

    def operations(self, schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        return [
            (f"{method} {path}", operation)
            for path, methods in schema["paths"].items()
            for method, operation in methods.items()
        ]

    def test_is_valid_and_built_without_a_warning(self, tmp_path: Path) -> None:
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "openapi.yaml"))

    def test_names_and_explains_each_operation(self, schema: dict[str, Any]) -> None:
        operations = self.operations(schema)
        assert [name for name, op in operations if not (op.get("summary") and op.get("tags"))] == []
        ids = [operation["operationId"] for _, operation in operations]
        assert len(ids) == len(set(ids))
        assert [op_id for op_id in ids if not op_id.isidentifier()] == []

    def test_tells_how_each_operation_fails(self, schema: dict[str, Any]) -> None:
        for name, operation in self.operations(schema):
            failures = {status for status in operation["responses"] if status.startswith(("4", "5"))}
            assert failures, name
            if operation.get("security") not in (None, [], [{}]):
                assert "401" in failures, name
            takes_json = "application/json" in operation.get("requestBody", {}).get("content", ())
            if takes_json and name not in READ_AS_BYTES:
                assert {"413", "415", "422"} <= failures, name

    def test_is_served_to_anybody_with_a_page_that_needs_no_other_site(self, anonymous: APIClient) -> None:
        assert anonymous.get("/api/schema/?format=json").json()["openapi"].startswith("3.1")
        page = anonymous.get("/api/docs/").content.decode()
        assert "swagger-ui-bundle.js" in page
        assert "https://" not in page
        assert anonymous.get("/")["Location"] == "/api/docs/"


# --- JSON out ---------------------------------------------------------------------------------------------------


def test_answers_are_written_as_rest_framework_writes_them() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    values: list[Any] = [
        {"id": UUID(int=7), "text": "ü\u2028", "none": None, "float": 1.5, "nested": [{"a": (1, 2)}]},
        {"utc": moment, "zone": moment.astimezone(ZoneInfo("Asia/Tokyo")), "day": moment.date(), "span": timedelta(1)},
        {"amount": Decimal("1.50"), "lazy": gettext_lazy("yes"), "choice": ApiKeyPermission.IDENTITY},
        {1: "keys that are no texts"},
        {"wide": 10**30},
        [],
    ]
    for value in values:
        assert json.loads(QuickJSONRenderer().render(value)) == json.loads(JSONRenderer().render(value))
    assert QuickJSONRenderer().render(None) == b""


def test_a_path_with_a_slash_at_its_end_is_told_that_none_has_one() -> None:
    hints = [APIClient().get(path).json()["hint"] for path in ("/api/graphs/", "/api/nothing")]
    assert hints == [
        "Paths of operations have no slash at their end. GET /api/schema/ lists every operation.",
        "GET /api/schema/ lists every operation.",
    ]
