"""Settings that cannot be meant are refused by their name, before anything starts."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("read", "name", "value", "message"),
    [
        (env.flag, "DJANGO_DEBUG", "perhaps", "DJANGO_DEBUG must be true or false, not 'perhaps'"),
        (env.number, "TASKLOOM_PROXIES", "-1", "TASKLOOM_PROXIES must be a whole number from 0 on, not '-1'"),
        (env.number, "TASKLOOM_PROXIES", "one", "TASKLOOM_PROXIES must be a whole number from 0 on, not 'one'"),
        (
            lambda name: env.server(name, "redis", "rediss"),
            "REDIS_URL",
            "http://redis",
            "REDIS_URL must begin with redis:// or rediss://",
        ),
        (
            env.places,
            "TASKLOOM_HTTP_ALLOW_PRIVATE",
            "db.internal:80,localhost",
            "TASKLOOM_HTTP_ALLOW_PRIVATE must be host:port pairs, such as localhost:9000, not 'localhost'",
        ),
        (env.mail, "EMAIL_URL", "nonsense", "EMAIL_URL must be like smtp+tls://user:password@host:587, or unset"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str], Any], name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refused:
        read(name)
    assert str(refused.value) == message


def test_private_places_are_read_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKLOOM_HTTP_ALLOW_PRIVATE", "LocalHost:9000, 10.0.0.7:80,")
    assert env.places("TASKLOOM_HTTP_ALLOW_PRIVATE") == ["localhost:9000", "10.0.0.7:80"]


@pytest.mark.parametrize(("word", "means"), [("TRUE", True), ("on", True), ("No", False), ("0", False), ("", False)])
def test_a_flag_is_read_in_any_case(monkeypatch: pytest.MonkeyPatch, word: str, means: bool) -> None:
    monkeypatch.setenv("DJANGO_DEBUG", word)
    assert env.flag("DJANGO_DEBUG") is means


def test_a_command_says_in_one_line_which_setting_does_not_fit() -> None:
    answer = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "check"],
        env={**os.environ, "TASKLOOM_RUNS_PER_USER": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr == (
        "The settings do not fit: TASKLOOM_RUNS_PER_USER must be a whole number from 1 on, not '0'.\n"
    )


def test_a_python_without_the_packages_says_which_one_to_use() -> None:
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "manage.py"), "doctor"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert answer.stderr == (
        f"{sys.executable} has no django. Use `.venv/bin/python manage.py …`; `make install` makes .venv.\n"
    )
