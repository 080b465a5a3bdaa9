import os
from pathlib import Path

import yaml
from django.conf import settings

from config.env import VARIABLES

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_file_names_every_variable_with_its_default_and_its_meaning():
    header, *blocks = (ROOT / ".env.example").read_text().strip().split("\n\n")

    assert all(line.startswith("# ") for line in header.splitlines())
    assert blocks == [f"# {variable.meaning}\n{variable.name}={variable.default}" for variable in VARIABLES]


def test_no_variable_is_named_twice():
    names = [variable.name for variable in VARIABLES]

    assert len(names) == len(set(names))


def test_nothing_but_env_reads_the_environment():
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("platform", "graphs", "executions", "credits", "integrations", "notifications")
        for path in (ROOT / folder).rglob("*.py")
        if any(word in path.read_text() for word in ("os.environ", "os.getenv"))
    }

    # These three name the settings module for whoever starts them; `up` passes a variable on to its children.
    assert (
        readers
        - {
            "platform/config/env.py",
            "platform/config/asgi.py",
            "platform/config/celery.py",
            "platform/config/up/running.py",
        }
        == set()
    )


def test_the_tests_run_on_their_own_settings():
    assert os.environ["DJANGO_SETTINGS_MODULE"] == settings.SETTINGS_MODULE == "tests.settings"


def test_containers_are_given_every_setting() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    given = compose["x-taskloom"]["environment"]
    of_one_machine = {"TASKLOOM_HOME", "TASKLOOM_DEMO_EMAIL", "TASKLOOM_DEMO_PASSWORD", "TASKLOOM_FAILPOINTS"}
    of_aws = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert given.keys() == {variable.name for variable in VARIABLES} - of_one_machine | of_aws
    assert all(
        value.startswith(f"${{{name}:") for name, value in given.items() if name not in {"DATABASE_URL", "REDIS_URL"}
    )
