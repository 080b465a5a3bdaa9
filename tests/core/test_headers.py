"""What answers tell browsers, and how they are packed."""

import gzip
import json
import logging
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from rest_framework.test import APIClient

from accounts.models import Role, User
from config import env
from core.logs import JsonLines, WithRequestId
from core.origins import may_connect
from tests import make

BEAT = "/admin/django_celery_beat/periodictask/add/"
OURS = "https://app.example.com"


def csp_of(answer: Any) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in answer["Content-Security-Policy"].split(";"))
    return {name: sources for name, _, sources in parts}


def test_pages_run_scripts_of_ours_only_and_data_none(anonymous: APIClient) -> None:
    for page in ("/admin/login/", "/api/docs/"):
        policy = csp_of(anonymous.get(page))
        assert policy["default-src"] == "'self'"
        assert "script-src" not in policy
        assert policy["object-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
    for data in ("/health", "/api/graphs", "/api/nothing", "/api/schema/"):
        assert csp_of(anonymous.get(data))["default-src"] == "'none'"


def test_no_page_has_a_script_in_it(db: None) -> None:
    client = Client()
    client.force_login(make.a_user(role=Role.ADMIN))
    for page in ("/admin/", "/admin/accounts/user/", "/admin/accounts/user/add/", "/admin/login/", BEAT, "/api/docs/"):
        text = client.get(page).content.decode()
        scripts = [tag.partition("</script>")[0] for tag in text.split("<script")[1:]]
        assert [tag for tag in scripts if "src=" not in tag and 'type="application/json"' not in tag] == [], page
        assert " onclick=" not in text


def test_over_https_browsers_are_told_to_stay_there(settings: Any, anonymous: APIClient) -> None:
    settings.SECURE_HSTS_SECONDS = 31536000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = True

    answers = [APIClient().get(path, secure=True) for path in ("/health", "/api/nothing", "/admin/login/")]

    assert {answer["Strict-Transport-Security"] for answer in answers} == {"max-age=31536000; includeSubDomains"}


def test_load_balancers_and_prometheus_ask_from_inside_by_any_host_and_over_http(settings: Any, db: None) -> None:
    settings.ALLOWED_HOSTS, settings.METRICS_TOKEN = ["taskloom.example.com"], "secret"
    settings.SECURE_SSL_REDIRECT = True
    inside = Client(headers={"Host": "10.0.0.7:8000", "Authorization": "Bearer secret"})

    assert [inside.get(path).status_code for path in ("/health", "/metrics")] == [200, 200]
    refused = inside.get("/api/graphs", secure=True)
    assert (refused.status_code, refused.json()["hint"]) == (
        400,
        "DJANGO_ALLOWED_HOSTS of the server lists those that it answers to.",
    )
    outside = inside.get("/api/graphs", headers={"Host": "taskloom.example.com"})
    assert (outside.status_code, outside["Location"]) == (301, "https://taskloom.example.com/api/graphs")


# --- Other sites ------------------------------------------------------------------------------------------------


def asked_from(origin: str, path: str = "/api/graphs", **headers: str) -> Any:
    return Client().options(path, headers={"Origin": origin, "Access-Control-Request-Method": "POST", **headers})


@pytest.fixture
def allowed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKLOOM_CORS_ORIGINS", rf"{OURS}/, regex:https://[a-z0-9-]+\.preview\.example\.com")
    settings.CORS_ALLOWED_ORIGINS, settings.CORS_ALLOWED_ORIGIN_REGEXES = env.origins("TASKLOOM_CORS_ORIGINS")


@pytest.mark.usefixtures("allowed", "db")
def test_pages_of_listed_sites_may_ask_and_read() -> None:
    for origin in (OURS, "https://pr-7.preview.example.com"):
        before = asked_from(origin)
        assert before.status_code == 200
        assert before["Access-Control-Allow-Origin"] == origin
        assert {"authorization", "idempotency-key", "if-match", "x-api-key"} <= set(
            before["Access-Control-Allow-Headers"].split(", ")
        )
        refused = Client().get("/api/graphs", headers={"Origin": origin})
        assert refused.status_code == 401
        assert refused["Access-Control-Allow-Origin"] == origin
        assert "x-request-id" in refused["Access-Control-Expose-Headers"]
        assert "origin" in refused["Vary"].lower()


FOREIGN = [
    "null",
    "",
    "http://[",
    "https://evil.example",
    "http://app.example.com",
    "https://app.example.com.evil.example",
    "https://app.example.com:8443",
    "https://evilapp.example.com",
    "https://APP.example.com@evil.example",
    "https://x.preview.example.com.evil.example",
    "https://evil.example/https://x.preview.example.com",
    "https://x.preview.example.com\n.evil.example",
    "https://xpreview.example.com",
    "https://a.b.preview.example.com",
    "https://x.preview.example.com:444",
    "http://x.preview.example.com",
]


@pytest.mark.usefixtures("allowed", "db")
@pytest.mark.parametrize("origin", FOREIGN)
def test_pages_of_other_sites_may_not(origin: str) -> None:
    for answer in (asked_from(origin), Client().get("/api/graphs", headers={"Origin": origin})):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.usefixtures("allowed")
def test_sockets_are_open_to_the_same_sites_and_to_our_own() -> None:
    assert may_connect(OURS)
    assert may_connect("https://pr-7.preview.example.com")
    assert may_connect("http://localhost:8000")
    assert [origin for origin in FOREIGN if may_connect(origin)] == []


@pytest.mark.usefixtures("allowed", "db")
@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/static/taskloom/icon.svg", "/healthy"])
def test_no_other_site_may_read_what_works_with_cookies(path: str) -> None:
    answer = Client().get(path, headers={"Origin": OURS})
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer.close()


def test_without_a_setting_no_other_site_may(db: None) -> None:
    assert "Access-Control-Allow-Origin" not in asked_from("http://localhost:3000").headers


# --- Packing ----------------------------------------------------------------------------------------------------

PACKED = {"Accept-Encoding": "gzip"}


def test_large_answers_are_packed_for_who_accepts_it(api: APIClient) -> None:
    plain, packed = api.get("/api/blocks"), api.get("/api/blocks", headers=PACKED)

    assert "Content-Encoding" not in plain.headers
    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 3
    assert "Accept-Encoding" in plain["Vary"]


def test_small_answers_and_pages_that_go_with_cookies_are_not(api: APIClient, user: User) -> None:
    make.a_graph(user)
    admin = Client()
    admin.force_login(make.a_user(role=Role.ADMIN))
    for number in range(150):
        make.a_user(f"someone-with-a-long-address-{number}@{'long' * 12}.example.com")

    assert "Content-Encoding" not in api.get("/api/graphs", headers=PACKED).headers
    page = admin.get("/admin/accounts/user/", headers=PACKED)
    assert len(page.content) > 50 * 1024
    assert "Content-Encoding" not in page.headers


# --- Settings, and lines of the log -----------------------------------------------------------------------------


def test_a_choice_that_there_is_not_stops_the_start_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKLOOM_LOG_FORMAT", "xml")
    with pytest.raises(ImproperlyConfigured, match="TASKLOOM_LOG_FORMAT must be one of line, json, not 'xml'"):
        env.choice("TASKLOOM_LOG_FORMAT", ["line", "json"])


def test_a_line_of_the_log_can_be_json() -> None:
    record = logging.LogRecord("a.logger", logging.ERROR, __file__, 1, 'said "%s"\n', ("so",), None)
    WithRequestId().filter(record)
    error = ValueError("no number")
    record.exc_info = (ValueError, error, None)

    text = JsonLines().format(record)

    line = json.loads(text)
    assert "\n" not in text
    assert line["message"] == 'said "so"\n'
    assert (line["level"], line["logger"], line["request_id"]) == ("ERROR", "a.logger", "-")
    assert line["traceback"].endswith("ValueError: no number")
    assert line["time"].endswith("+00:00")
