"""What `manage.py check --deploy` says of settings that are not fit for production."""

from collections.abc import Callable
from typing import Any

import pytest

from config import deploy_checks as checks


@pytest.fixture
def production(settings: Any) -> Any:
    """Settings as they should be."""
    settings.HTTPS, settings.PROXIES = True, 1
    settings.ALLOWED_HOSTS = ["taskloom.example.com"]
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.com"]
    settings.CORS_ALLOWED_ORIGIN_REGEXES = [r"\A(?:https://[a-z]+\.example\.com)\Z"]
    settings.RATES = dict.fromkeys(settings.RATES, "30/m")
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.FRONTEND_URL = "https://app.example.com"
    return settings


ALL = [
    checks.other_sites_are_named_well,
    checks.proxies_are_counted,
    checks.proxies_are_known,
    checks.passwords_cannot_be_guessed,
    checks.hosts_are_named,
    checks.mail_reaches_people,
    checks.events_come_in,
]


def found() -> list[tuple[str | None, str]]:
    every: list[Callable[[], Any]] = list(ALL)
    messages = [message for check in every for message in check()]
    assert all(message.hint for message in messages)
    return [(message.id, message.msg) for message in messages]


@pytest.mark.usefixtures("production")
def test_settings_that_are_right_pass() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CORS_ALLOWED_ORIGINS", ["*"], [("config.E005", "TASKLOOM_CORS_ORIGINS: * is no origin.")]),
        ("CORS_ALLOWED_ORIGINS", ["app.example.com"], [("config.E005", "… app.example.com is no origin.")]),
        ("CORS_ALLOWED_ORIGINS", ["https://a.example/x"], [("config.E005", "… https://a.example/x is no origin.")]),
        (
            "CORS_ALLOWED_ORIGINS",
            ["http://localhost:3000"],
            [("config.E005", "… http://localhost:3000 is not for production.")],
        ),
        (
            "CORS_ALLOWED_ORIGINS",
            ["https://localhost"],
            [("config.E005", "… https://localhost is not for production.")],
        ),
        ("CORS_ALLOWED_ORIGIN_REGEXES", [r"\A(?:.*)\Z"], [("config.E005", r"… \A(?:.*)\Z lets every site in.")]),
        ("PROXIES", -1, [("config.E006", "TASKLOOM_PROXIES is less than 0.")]),
        ("PROXIES", 0, [("config.W001", "All clients share the limits of the proxy in front.")]),
        ("ALLOWED_HOSTS", ["*"], [("config.W003", "The site answers to any host name.")]),
        ("PLATFORM_BASE_URL", "", []),
        (
            "PLATFORM_BASE_URL",
            "https://other.example.com/below",
            [("config.W006", "Webhooks are told to other.example.com, and what comes there is refused.")],
        ),
        (
            "PLATFORM_BASE_URL",
            "http://taskloom.example.com",
            [("config.W007", "What comes in by webhooks can be read on its way.")],
        ),
        ("FRONTEND_URL", "http://localhost:3000", [("config.W005", "Links in mails lead nowhere for others.")]),
    ],
)
def test_what_is_not_fit_for_production_is_named_with_its_cure(
    production: Any, name: str, value: Any, expected: list[tuple[str, str]]
) -> None:
    setattr(production, name, value)

    assert found() == [(number, text.replace("…", "TASKLOOM_CORS_ORIGINS:")) for number, text in expected]


def test_a_pattern_that_is_none_is_named(production: Any) -> None:
    production.CORS_ALLOWED_ORIGIN_REGEXES = ["("]

    [(number, text)] = found()
    assert number == "config.E005"
    assert text.startswith("TASKLOOM_CORS_ORIGINS: ( is no regular expression: ")


def test_limits_that_guard_passwords_are_missed(production: Any) -> None:
    production.RATES = {**production.RATES, "sign_in_account": "off", "proofs": "off", "general": "off"}

    assert found() == [("config.W002", "There is no limit for proofs, sign_in_account.")]


def test_mail_that_nobody_gets_is_missed(production: Any) -> None:
    production.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

    assert found() == [("config.W004", "Mail is written to the log of the workers.")]
